"""Pinyin as dictionaries and the library pypinyin write it: every syllable of theirs, in every style that is pinyin."""

import unicodedata

import pytest

from ofasys.modality.phone.inventories import inventory
from ofasys.modality.phone.pinyin import syllables

# The 426 syllables, without tones, that pypinyin 0.55 gives to characters and phrases.
WRITTEN = """
a ai an ang ao ba bai ban bang bao bei ben beng bi bian biang biao bie bin bing bo bong bu ca cai can cang cao
ce cei cen ceng cha chai chan chang chao che chen cheng chi chong chou chu chua chuai chuan chuang chui chun
chuo ci cong cou cu cuan cui cun cuo da dai dan dang dao de dei den deng di dia dian diao die din ding diu dong
dou du duan dui dun duo e ei en eng er fa fan fang fei fen feng fiao fo fou fu ga gai gan gang gao ge gei gen
geng gong gou gu gua guai guan guang gui gun guo ha hai han hang hao he hei hen heng hm hng hong hou hu hua huai
huan huang hui hun huo ji jia jian jiang jiao jie jin jing jiong jiu ju juan jue jun ka kai kan kang kao ke kei
ken keng kong kou ku kua kuai kuan kuang kui kun kuo la lai lan lang lao le lei len leng li lia lian liang liao
lie lin ling liu lo long lou lu luan lun luo lü lüe m ma mai man mang mao me mei men meng mi mian miao mie min
ming miu mo mou mu n na nai nan nang nao ne nei nen neng ng ni nia nian niang niao nie nin ning niu nong nou nu
nuan nun nuo nü nüe o ou pa pai pan pang pao pei pen peng pi pian piao pie pin ping po pou pu qi qia qian qiang
qiao qie qin qing qiong qiu qu quan que qun ran rang rao re ren reng ri rong rou ru rua ruan rui run ruo sa sai
san sang sao se sen seng sha shai shan shang shao she shei shen sheng shi shou shu shua shuai shuan shuang shui
shun shuo si song sou su suan sui sun suo ta tai tan tang tao te tei teng ti tian tiao tie ting tong tou tu tuan
tui tun tuo wa wai wan wang wei wen weng wo wong wu xi xia xian xiang xiao xie xin xing xiong xiu xu xuan xue
xun ya yan yang yao ye yi yin ying yo yong you yu yuan yue yun za zai zan zang zao ze zei zen zeng zha zhai zhan
zhang zhao zhe zhei zhen zheng zhi zhong zhou zhu zhua zhuai zhuan zhuang zhui zhun zhuo zi zong zou zu zuan zui
zun zuo ê
""".split()  # noqa: SIM905
MARKS = dict(zip("1234", "\u0304\u0301\u030c\u0300", strict=True))


def read(text):
    made = inventory("pinyin")
    return made.write([n for unit in made.read(text) for n in unit])


def vowel(syllable):
    """Where the tone is marked: a and e have it, the o of ou, else the last vowel; without one the first nasal."""
    for letter in ("a", "e", "ê", "ou"):
        if letter in syllable:
            return syllable.index(letter)
    found = [at for at, c in enumerate(syllable) if c in "iouü"]
    return found[-1] if found else next(at for at, c in enumerate(syllable) if c in "mn")


def test_there_is_no_syllable_we_lack():
    assert len(WRITTEN) == 426
    assert set(WRITTEN) - set(syllables()) == {"m", "n", "ng", "hm", "hng"}
    made = inventory("pinyin")
    assert len({tuple(made.read(syllable)[0]) for syllable in WRITTEN}) == 426


@pytest.mark.parametrize("tone", ["", "1", "2", "3", "4", "5"])
def test_every_style_is_read(tone):
    for syllable in WRITTEN:
        at = vowel(syllable)
        marked = unicodedata.normalize("NFC", syllable[: at + 1] + MARKS.get(tone, "") + syllable[at + 1 :])
        after = syllable[: at + 1] + tone + syllable[at + 1 :]  # TONE2
        marks = {marked, unicodedata.normalize("NFD", marked)} if tone in MARKS else set()
        for text in {syllable + tone, after, *marks}:
            for form in {text, text.upper(), text.replace("ü", "v"), text.replace("ü", "u:")}:
                assert read(form) == syllable + tone, form


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("hua1 r5", "hua1 r5"),
        ("huar1 nǎr na3r", "huar1 nar3 nar3"),
        ("ḿ m̀ ń ňg ǹg ŋ hm hng5", "m2 m4 n2 ng3 ng4 ng hm hng5"),
        ("lue4 nüè nve4 jü2 qv4 xvan1 yü3", "lüe4 nüe4 nüe4 ju2 qu4 xuan1 yu3"),
        ("ê̄ ế ea4", "ê1 ê2 ê4"),
        ("mā·ma ·de ma0", "ma1 ma5 de5 ma5"),
        ("ẑāng ĉi ŝì ɡē lɑ̄", "zhang1 chi shi4 ge1 la1"),
        ("xi’an xīʼān xi1`an1 bei3–jing1", "xi an xi1 an1 xi1 an1 bei3 jing1"),
        ("ni3|hao3", "ni3 | hao3"),
        ("ha3o ha3 o", "hao3 ha3 o"),
        ("bei3jing1", "bei3 jing1"),
    ],
)
def test_other_spellings(text, written):
    assert read(text) == written
    assert read(written) == written


@pytest.mark.parametrize("text", ["mr3", "rr", "zh ang1", "ma·", "·ma1", "ong1", "chung1", "3", "·"])
def test_what_is_no_syllable(text):
    with pytest.raises(ValueError, match=r"unknown syllable|no tone or more than one"):
        read(text)
