// The page of `ofasys serve`. It knows no modality: the server says which widget asks for a value, and draws answers.

import { WIDGETS, button, drawn, fresh, make, manyWidget } from "./widgets.js";

const $ = (id) => document.getElementById(id);

// --- asking the server ----------------------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(error, status) {
    super(error.message || error.value || "the server refused the request");
    Object.assign(this, { error, status });
  }
}

async function ask(path, body, signal) {
  const form = body instanceof FormData, headers = form || body === undefined ? {} : { "Content-Type": "application/json" };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  let response;
  try {
    response = await fetch(path, body === undefined ? { headers, signal } : { method: "POST", headers, body: form ? body : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ message: "the server does not answer", next: "see whether it still runs, then try again" }, 0);
  }
  if (response.ok) return response;
  if (response.status === 401) $("key-form").hidden = false;
  const told = await response.json().catch(() => ({}));
  throw new Refusal(told.error || { message: `the server answered ${response.status} ${response.statusText}` }, response.status);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split(/\r?\n/);
      const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^ /, "")).join("\n");
      if (field("data")) yield { kind: field("event") || "message", data: JSON.parse(field("data")) };
    }
  }
}

const columnOf = (error) => (/(?:^|, )column (.*?)(?:, row .*)?$/.exec(error.place || "") || [])[1];

function errorBox(error, fix = null) {
  const said = columnOf(error) ? error.value : error.message; // of a row the field says where
  const box = make("div", { className: "error" }, make("p", {}, said || "refused"));
  if (error.caret) box.append(make("pre", { tabIndex: 0, role: "group", ariaLabel: "The place" }, error.caret));
  if (error.next && !(said || "").endsWith(error.next)) box.append(make("p", {}, error.next));
  if (fix) box.append(fix);
  return box;
}

// --- the instruction: checked while it is typed, and completed --------------------------------------------------------

const line = $("instruction");
let start = { modalities: [], tasks: [], model: "RUN" };
let form = null; // what the server said of the instruction
let fields = new Map(); // column -> its widget
let checks = 0, timer = 0;

function grow() {
  line.style.height = "auto";
  line.style.height = `${line.scrollHeight + 2}px`;
}

function underline(error) {
  const text = line.value;
  $("mirror").replaceChildren();
  if (error && error.start !== undefined && error.start !== null) {
    const end = Math.max(error.end, error.start + 1);
    const letters = [...text]; // the server counts characters, and JavaScript pairs of surrogates
    $("mirror").append(letters.slice(0, error.start).join(""), make("mark", {}, letters.slice(error.start, end).join("") || " "), letters.slice(end).join(""));
  }
  line.setAttribute("aria-invalid", String(Boolean(error)));
}

function repair(error) {
  const meant = /did you mean ([^\s?]+)\?/.exec(error.next || "");
  if (!meant || error.start === undefined || error.start === null) return null;
  return button(`Put ${meant[1]}`, () => {
    const letters = [...line.value];
    letters.splice(error.start, error.end - error.start, ...meant[1]);
    line.value = letters.join("");
    line.focus();
    check();
  });
}

async function check() {
  clearTimeout(timer);
  grow();
  const mine = ++checks, text = line.value.replaceAll("\n", " ");
  if (!text.trim()) {
    underline(null);
    $("problem").replaceChildren();
    show(null);
    return;
  }
  try {
    const found = await (await ask("v1/explain", { instruction: text })).json();
    if (mine !== checks) return;
    underline(null);
    const lead = "This model cannot answer it: ";
    $("problem").replaceChildren(...(found.why_not ? [errorBox({ ...found.why_not, message: lead + found.why_not.message })] : []));
    show({ ...found, line: text });
    history.replaceState(null, "", `#${encodeURIComponent(text)}`); // to be kept, and sent to others
  } catch (error) {
    if (mine !== checks) return;
    const told = error.error || { message: String(error) };
    underline(told);
    $("problem").replaceChildren(errorBox(told, repair(told)));
    $("send").disabled = true;
    form = null;
  }
}

const slotsIn = (text) => [...text.matchAll(/[[|]\s*(\w+)\s*:\s*(\w+)/g)];

function place() {
  const before = line.value.slice(0, line.selectionStart);
  let open = -1, quoted = false;
  for (let i = 0; i < before.length; i++) {
    if (before[i] === "\\") i++;
    else if (before[i] === '"' && open >= 0) quoted = !quoted;
    else if (quoted) continue;
    else if (before[i] === "[" || (before[i] === "|" && open >= 0)) open = i + 1;
    else if (before[i] === "]") open = -1;
  }
  return open < 0 || quoted ? null : { inside: before.slice(open), side: /->/.test(before.slice(0, open)) ? "target" : "source" };
}

function choices() {
  const at = place();
  if (!at) return [];
  const spec = (tag) => start.modalities.find((one) => one.tag === tag.trim()) || { attributes: [] };
  const option = (typed, word, about, put = word) => ({ typed, word, about, put });
  let match;
  if ((match = /^\s*(\w*)$/.exec(at.inside)))
    return start.modalities.filter((one) => one[at.side]).map((one) => option(match[1], one.tag, one.about, `${one.tag}:`));
  if ((match = /^([^:,]*):\s*(\w*)$/.exec(at.inside))) {
    const tag = match[1].trim();
    const written = slotsIn(line.value).filter((one) => one[1] !== tag).map((one) => one[2]);
    const names = [...new Set(start.tasks.flatMap((task) => task.instructions.flatMap((text) => slotsIn(text).filter((one) => one[1] === tag).map((one) => one[2]))))];
    return names.filter((name) => !written.includes(name)).map((name) => option(match[2], name, "a column of the tasks"));
  }
  if ((match = /^([^:,]*)[^]*,\s*(\w+)\s*=\s*([\w.+-]*)$/.exec(at.inside))) {
    const attribute = spec(match[1]).attributes.find((one) => one.name === match[2]);
    const choices = attribute && /^one of (.*)$/.exec(attribute.expects);
    return choices ? choices[1].split(", ").map((word) => option(match[3], word, attribute.about)) : [];
  }
  if ((match = /^([^:,]*)[^]*,\s*(\w*)$/.exec(at.inside))) {
    const used = [...at.inside.matchAll(/,\s*(\w+)\s*[=,]/g)].map((one) => one[1]);
    return spec(match[1]).attributes
      .filter((one) => !used.includes(one.name) && (!one.side || one.side === at.side))
      .map((one) => (one.example === one.name ? option(match[2], one.name, one.about) : option(match[2], one.name, `${one.about}: ${one.expects}`, `${one.name}=`)));
  }
  return [];
}

const list = $("completions"), SHOWN = 8; // as many as need no scrolling
let offered = [], active = -1;

function complete() {
  const near = (one) => one.word.toLowerCase().startsWith(one.typed.toLowerCase());
  offered = choices().filter(near).filter((one) => one.word !== one.typed);
  active = -1;
  offer(0);
}

function offer(first) {
  list.replaceChildren(...offered.slice(first, first + SHOWN).map((one, at) => make("li", {
    id: `completion-${first + at}`, role: "option", ariaSelected: String(first + at === active),
    onpointerdown: (event) => { event.preventDefault(); take(first + at); },
  }, make("b", {}, one.word), make("span", {}, one.about))));
  $("popup").hidden = !offered.length;
  $("more").textContent = offered.length > SHOWN ? `${first + 1} to ${Math.min(first + SHOWN, offered.length)} of ${offered.length}; type on, or go through them with ↓` : "";
  if (active < 0) line.removeAttribute("aria-activedescendant");
  else line.setAttribute("aria-activedescendant", `completion-${active}`);
}

function choose(i) {
  active = (i + offered.length) % offered.length;
  offer(Math.max(0, Math.min(active - (SHOWN >> 1), offered.length - SHOWN)));
}

function take(i) {
  const { typed, put } = offered[i], at = line.selectionStart;
  line.setRangeText(put, at - typed.length, at, "end");
  line.focus();
  complete();
  check();
}

function close() {
  offered = [];
  $("popup").hidden = true;
  line.removeAttribute("aria-activedescendant");
}

line.addEventListener("input", () => {
  underline(null);
  grow();
  complete();
  $("send").disabled = true;
  clearTimeout(timer);
  timer = setTimeout(check, 150);
});
line.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    return check().then(() => send(event)); // what was just typed, not what was checked before
  }
  if (event.key === "ArrowDown" && !offered.length && line.selectionStart === line.value.length) complete();
  else if (event.key === "ArrowDown" && offered.length) choose(active + 1);
  else if (event.key === "ArrowUp" && offered.length) choose(active < 0 ? offered.length - 1 : active - 1);
  else if ((event.key === "Enter" || event.key === "Tab") && active >= 0 && offered.length) take(active);
  else if (event.key === "Escape" && offered.length) close();
  else if (event.key !== "Enter") return undefined;
  return event.preventDefault();
});
line.addEventListener("blur", close);
line.addEventListener("click", complete);

// --- the slots of the instruction -------------------------------------------------------------------------------------

function explain(plan) {
  const lines = (plan || "").split("\n").map((text) => {
    const node = make("div", {}, text.trimStart());
    node.style.setProperty("--depth", text.length - text.trimStart().length);
    return node;
  });
  $("plan").replaceChildren(...(plan ? lines : [make("p", {}, "Type an instruction, or take one of the tasks: how it will be carried out stands here.")]));
}

function show(next) {
  const kept = new Map([...fields].map(([column, one]) => [column, one])), before = form;
  form = next;
  explain(next ? next.text : null);
  const given = next ? next.slots.filter((slot) => slot.given) : []; // a column may stand in several slots
  const asked = given.filter((slot, i) => given.findIndex((one) => one.column === slot.column) === i);
  fields = new Map();
  const nodes = asked.map((field) => {
    const same = before && kept.has(field.column) && JSON.stringify(kept.get(field.column).field) === JSON.stringify(field);
    if (same) { fields.set(field.column, kept.get(field.column)); return kept.get(field.column).holder; }
    const id = fresh("slot"), widget = (field.repeated ? manyWidget : WIDGETS[field.widget] || textWidget)(field, id, refresh);
    const title = [field.column, make("small", {}, `${field.modality}${field.repeated ? ", a list" : ""}${field.optional ? ", if there is one" : ""}: ${field.about}`)];
    const single = ["text", "number", "label"].includes(field.widget) && !field.repeated;
    const holder = single
      ? make("div", { className: "field" }, make("label", { htmlFor: id }, ...title), widget.node)
      : make("fieldset", { className: "field" }, make("legend", {}, ...title), widget.node);
    fields.set(field.column, { field, widget, holder });
    return holder;
  });
  for (const [column, { widget }] of kept) if (widget.remove && (!fields.has(column) || fields.get(column).widget !== widget)) widget.remove();
  $("fields").replaceChildren(...nodes);
  for (const { field, widget } of fields.values())
    if (widget.attach) widget.attach(field.refers_to && fields.has(field.refers_to) ? fields.get(field.refers_to).widget : null);
  $("form").hidden = !next;
  $("copies").hidden = !next;
  refresh();
}

function row() {
  const found = {};
  for (const [column, { widget }] of fields) {
    const value = widget.get();
    if (value !== undefined) found[column] = value;
  }
  return found;
}

function refresh() {
  if (!form || running) return;
  $("send").disabled = !form.answerable;
  code();
}

function options() {
  const found = {};
  for (const word of $("options").value.split(/[\s,]+/).filter(Boolean)) {
    const [name, ...rest] = word.split("="), text = rest.join("=");
    try { found[name] = JSON.parse(text); } catch { found[name] = text || true; }
  }
  return found;
}

// --- the answer -------------------------------------------------------------------------------------------------------

let running = null;

// Files travel as parts of a form, named after their columns.
function packed(given, asked) {
  const body = new FormData(), data = {};
  const part = (value, name) => {
    if (!(value instanceof File)) return value;
    body.append(name, value);
    return { upload: name };
  };
  for (const [column, value] of Object.entries(given))
    data[column] = Array.isArray(value) ? value.map((one, i) => part(one, `${column}.${i}`)) : part(value, column);
  body.append("request", JSON.stringify({ instruction: form.line, data, options: asked }));
  return body;
}

async function send(event) {
  event.preventDefault();
  if (!form || $("send").disabled || running) return undefined;
  const given = row();
  document.querySelectorAll(".field .error").forEach((box) => box.remove());
  const missing = [...fields.values()].find(({ field }) => given[field.column] === undefined && !field.optional);
  if (missing) return complain(missing.field.column, { message: `${missing.field.column} is empty`, next: `give ${missing.field.about}` });
  running = new AbortController();
  $("send").disabled = true;
  $("stop").hidden = false;
  $("answer").hidden = false;
  $("answer-body").replaceChildren();
  $("answer-state").textContent = "The model answers …";
  const began = performance.now();
  try {
    const response = await ask("v1/inference/stream", packed(given, options()), running.signal);
    for await (const { kind, data } of events(response)) heard(kind, data, began);
  } catch (error) {
    const told = error.error || { message: error.name === "AbortError" ? "stopped" : String(error.message || error) };
    $("answer-state").textContent = "";
    if (fields.has(columnOf(told))) { $("answer").hidden = true; complain(columnOf(told), told); }
    else $("answer-body").append(errorBox(told));
  }
  running = null;
  $("stop").hidden = true;
  refresh();
  return undefined;
}

function complain(column, error) {
  const { holder } = fields.get(column), box = errorBox(error);
  box.setAttribute("role", "alert");
  holder.append(box);
  const first = holder.querySelector("input, textarea, select, button");
  if (first) first.focus();
}

function heard(kind, told, began) {
  if (kind === "text") {
    const id = `partial-${told.column}`;
    let box = document.getElementById(id);
    if (!box) $("answer-body").append((box = make("div", { id, className: "value partial" }, make("h3", {}, told.column), make("p", { className: "text" }))));
    box.querySelector(".text").append(told.value);
  } else if (kind === "slot") {
    const box = document.getElementById(`partial-${told.column}`), whole = answered({ values: { [told.column]: told.value }, score: null }, 0, 1);
    if (box) box.replaceWith(whole);
    else $("answer-body").append(whole);
  } else if (kind === "error") throw new Refusal(told.error, 0);
  else if (kind === "done") {
    const all = (told.nbest && told.nbest[0]) || [{ values: told.answers[0], score: told.scores[0] }];
    $("answer-body").replaceChildren(...all.map((one, i) => answered(one, i, all.length)), ...bars((told.probabilities || [])[0] || {}));
    $("answer-state").textContent = `Answered in ${((performance.now() - began) / 1000).toFixed(2)} s.`;
  }
}

function answered({ values, score }, i, count) {
  const parts = Object.entries(values).map(([column, value]) => {
    const slot = form.slots.find((one) => one.column === column && !one.given);
    if (!slot) return null; // the spread of a number, which stands beside it
    const beside = form.slots.find((one) => one.repeated && !one.given && one.column !== column && Array.isArray(values[one.column]) && typeof values[one.column][0] === "string");
    const owner = slot.refers_to && fields.get(slot.refers_to);
    const near = { image: owner && owner.widget.image, labels: beside && slot.repeated && values[beside.column], spread: values[`${column}_spread`] };
    return make("div", { className: "value" }, make("h3", {}, `${column} · ${slot.modality}`), drawn(slot, value, near));
  });
  if (count > 1) parts.unshift(make("p", { className: "muted" }, `${i + 1} of ${count}${score === null ? "" : `, score ${score.toFixed(3)}`}`));
  return make("div", { className: "one" }, ...parts);
}

function bars(probabilities) {
  const labels = Object.entries(probabilities).slice(0, 10);
  return !labels.length ? [] : [make("div", { className: "bars" }, ...labels.flatMap(([label, share]) => {
    const bar = make("i", { ariaHidden: "true" });
    bar.style.width = `${100 * share}%`;
    return [make("span", {}, label), bar, make("span", {}, `${(100 * share).toFixed(1)}%`)];
  }))];
}

$("form").addEventListener("submit", send);
$("stop").addEventListener("click", () => running && running.abort());
$("options").addEventListener("input", () => form && code());

// --- the same as code ---------------------------------------------------------------------------------------------------

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const plain = (value) => (value instanceof File ? value.name : Array.isArray(value) ? value.map(plain) : value);
const names = (data) => Object.fromEntries(Object.entries(data).map(([column, value]) => [column, plain(value)]));
let language = "python";

function python(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

const WRITE = {
  python(text, data, asked) {
    const more = Object.entries(asked).map(([name, value]) => `    ${name}=${python(value)},\n`).join("");
    return `from ofasys import OFASys\n\nmodel = OFASys.from_pretrained(${JSON.stringify(start.model)})\nanswer = model.inference(\n    ${JSON.stringify(text)},\n    data=${python(names(data))},\n${more})\nprint(answer)\n`;
  },
  shell(text, data, asked) {
    const words = Object.entries(data).map(([column, value]) => {
      const said = plain(value);
      return quoted(`${column}=${typeof said === "string" ? said : JSON.stringify(said)}`);
    });
    const more = Object.entries(asked).map(([name, value]) => `--${name.replaceAll("_", "-")} ${quoted(String(value))}`);
    return `${["ofasys infer", quoted(start.model), quoted(text), ...words, ...more].join(" \\\n  ")}\n`;
  },
  curl(text, data, asked) {
    const files = Object.entries(data).filter(([, value]) => value instanceof File), rest = names(Object.fromEntries(Object.entries(data).filter(([, value]) => !(value instanceof File))));
    const words = [`curl ${quoted(new URL("v1/inference", location.href).href)}`];
    if ($("key").value) words.push('-H "Authorization: Bearer $OFASYS_KEY"');
    words.push(`--form-string ${quoted(`instruction=${text}`)}`);
    if (Object.keys(rest).length) words.push(`--form-string ${quoted(`data=${JSON.stringify(rest)}`)}`);
    if (Object.keys(asked).length) words.push(`--form-string ${quoted(`options=${JSON.stringify(asked)}`)}`);
    return `${[...words, ...files.map(([column, file]) => `-F ${quoted(`${column}=@"${file.name}"`)}`)].join(" \\\n  ")}\n`;
  },
};

function code() {
  $("code").textContent = WRITE[language](form.instruction, row(), options());
  $("copied").textContent = "";
}

document.querySelectorAll("[data-kind]").forEach((one) => one.addEventListener("click", () => {
  language = one.dataset.kind;
  document.querySelectorAll("[data-kind]").forEach((other) => other.setAttribute("aria-pressed", String(other === one)));
  if (form) code();
}));
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("code").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("code")); // a page that is not served safely may not write the clipboard
    $("copied").textContent = "Selected; copy it with the keyboard.";
  }
});

// --- the tasks of the run -------------------------------------------------------------------------------------------------

function press(one) {
  [...one.parentElement.children].forEach((other) => other.setAttribute("aria-pressed", String(other === one)));
}

const isFile = (value) => value !== null && typeof value === "object" && typeof value.base64 === "string";

function asFile({ base64, type = "application/octet-stream" }, column) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new File([bytes], `${column}.${SUFFIXES[type] || type.split("/")[1].replace(/^x-/, "")}`, { type });
}

const SUFFIXES = { "image/jpeg": "jpg", "audio/x-wav": "wav", "audio/mpeg": "mp3", "application/octet-stream": "bin" };

function pick(task, pressed) {
  press(pressed);
  line.value = task.instructions[0];
  $("example-list").replaceChildren(...task.examples.map((row, i) => {
    const texts = Object.values(row).filter((value) => typeof value !== "object").join(" · ");
    const fill = make("button", { type: "button", ariaPressed: "false", onclick: () => fillIn(task, row, fill) }, make("span", {}, texts || `Example ${i + 1}`));
    const picture = Object.values(row).find((value) => isFile(value) && (value.type || "").startsWith("image/"));
    if (picture) fill.prepend(make("img", { src: `data:${picture.type};base64,${picture.base64}`, alt: "" }));
    return fill;
  }));
  return check();
}

async function fillIn(task, row, pressed) {
  line.value = task.instructions[0];
  await check();
  for (const [column, value] of Object.entries(row))
    if (fields.has(column)) fields.get(column).widget.set(isFile(value) ? asFile(value, column) : value);
  refresh();
  press(pressed);
}

async function begin() {
  $("form").hidden = true;
  explain(null);
  try {
    start = await (await ask("v1/tasks")).json();
  } catch (error) {
    $("problem").replaceChildren(errorBox(error.error || { message: String(error) }));
    return;
  }
  $("problem").replaceChildren();
  $("key-form").hidden = true;
  $("model").textContent = start.model;
  $("tasks").hidden = !start.tasks.length;
  $("task-list").replaceChildren(...start.tasks.map((task) => {
    const choice = make("button", { type: "button", ariaPressed: "false", title: task.instructions[0], onclick: () => pick(task, choice) }, task.name);
    return choice;
  }));
  if (!line.value) line.value = said();
  if (line.value) check();
}

function said() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // an address that somebody cut off
  }
}

for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault()); // beside a slot it would leave the page
$("key-form").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
begin();
