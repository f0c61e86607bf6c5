// What asks a person for a value, and what draws one. The widget of a slot is said by the server, which knows the modality.

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const svg = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
export const button = (text, onclick, kind = "small") => make("button", { type: "button", className: kind, onclick }, text);
let serial = 0;
export const fresh = (what) => `${what}-${++serial}`;

// --- widgets: each has `node`, `get()` (undefined: nothing given), `set(value)` ---------------------------------------

const KINDS = {
  image: { accept: "image/*", say: "an image", tag: "img" },
  audio: { accept: "audio/*,.wav,.flac,.ogg,.mp3", say: "a sound", tag: "audio" },
  video: { accept: "video/*,image/gif,image/webp", say: "a clip", tag: "video" },
  motion: { accept: ".bvh", say: "a BVH file" },
  file: { accept: "", say: "a file" },
};

function textWidget(field, id, changed) {
  const area = make("textarea", { id, rows: 2, oninput: changed });
  area.style.fontFamily = "inherit";
  return { node: area, get: () => area.value || undefined, set: (value) => { area.value = typeof value === "string" ? value : JSON.stringify(value); } };
}

function numberWidget(field, id, changed) {
  const input = make("input", { id, type: "number", step: "any", oninput: changed });
  return { node: input, get: () => (input.value === "" ? undefined : Number(input.value)), set: (value) => { input.value = value; } };
}

function labelWidget(field, id, changed) {
  if (!field.labels || !field.labels.length) return textWidget(field, id, changed);
  const select = make("select", { id, onchange: changed }, make("option", { value: "" }, "choose"), ...field.labels.map((label) => make("option", { value: label }, label)));
  return { node: select, get: () => select.value || undefined, set: (value) => { select.value = String(value); } };
}

function fileWidget(field, id, changed) {
  const kind = KINDS[field.widget];
  let file = null, url = null;
  const input = make("input", { id, type: "file", accept: kind.accept, onchange: () => input.files[0] && set(input.files[0]) });
  const name = make("span", { className: "name" });
  const shown = make("div", { className: "stage", hidden: true });
  const remove = button("Remove", () => set(null));
  const choice = make("label", { htmlFor: id }, `Choose ${kind.say}`);
  const tools = make("div", { className: "row" }, choice, make("span", { className: "muted drop-hint" }, "or drop it here"), name, ...recorders(field.widget, set), remove);
  const node = make("div", { className: "drop" }, input, tools, shown);
  node.addEventListener("dragover", (event) => { event.preventDefault(); node.classList.add("over"); });
  node.addEventListener("dragleave", () => node.classList.remove("over"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    node.classList.remove("over");
    if (event.dataTransfer.files[0]) set(event.dataTransfer.files[0]);
  });
  node.addEventListener("paste", (event) => event.clipboardData.files[0] && set(event.clipboardData.files[0]));
  const widget = { node, stage: shown, image: null, kind: field.widget, get: () => file || undefined, set, onimage: [] };
  remove.hidden = true;

  function set(next) {
    file = next;
    if (url) URL.revokeObjectURL(url);
    url = file && kind.tag ? URL.createObjectURL(file) : null;
    input.value = "";
    name.textContent = file ? `${file.name}, ${size(file.size)}` : "";
    remove.hidden = !file;
    node.classList.toggle("full", Boolean(file));
    shown.replaceChildren();
    shown.hidden = !url;
    widget.image = null;
    if (url) preview();
    else widget.onimage.forEach((tell) => tell(null));
    if (file && field.widget === "motion") file.text().then((text) => {
      const motion = readBVH(text); // what it cannot read the server may, and it says so if not
      shown.hidden = !motion;
      if (motion) shown.append(moving(motion, field.column));
    });
    changed();
  }
  function preview() {
    const still = file.type.startsWith("image/"), media = make(still ? "img" : kind.tag, { src: url });
    if (still) {
      media.alt = `${field.column}: ${file.name}`;
      media.onload = () => {
        const { naturalWidth: w, naturalHeight: h } = media;
        if (Math.max(w, h) < 200) { media.width = w * Math.max(1, Math.floor(300 / Math.max(w, h))); media.className = "small"; }
        widget.image = media;
        widget.onimage.forEach((tell) => tell(media));
      };
    } else Object.assign(media, { controls: true, ariaLabel: `${field.column}: ${file.name}` });
    // What the browser cannot show the server may still read, and it says so if not.
    media.onerror = () => { shown.hidden = true; widget.onimage.forEach((tell) => tell(null)); };
    shown.append(media);
  }
  return widget;
}

const size = (bytes) => (bytes < 1024 ? `${bytes} bytes` : bytes < 1 << 20 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / (1 << 20)).toFixed(1)} MB`);

function recorders(kind, set) {
  if (!navigator.mediaDevices || !["image", "audio", "video"].includes(kind)) return [];
  const say = make("span", { className: "bad", role: "status" });
  let stop = null;
  const begin = { image: photograph, audio: record, video: film }[kind];
  const names = { image: ["Camera", "Take the picture"], audio: ["Record", "Stop recording"], video: ["Record", "Stop recording"] }[kind];
  const toggle = button(names[0], async () => {
    say.textContent = "";
    toggle.disabled = true;
    try {
      if (stop) { const file = await stop(); stop = null; set(file); }
      else stop = await begin(toggle.parentElement.parentElement);
    } catch (error) {
      stop = null;
      say.textContent = `it cannot be recorded: ${error.message}`;
    }
    toggle.disabled = false;
    toggle.textContent = names[stop ? 1 : 0];
  });
  return [toggle, say];
}

async function live(box, wanted) {
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  const video = wanted.video ? make("video", { srcObject: stream, muted: true, playsInline: true, ariaLabel: "What the camera sees" }) : null;
  if (video) { box.append(video); await video.play(); }
  return { stream, video, end: () => { stream.getTracks().forEach((track) => track.stop()); if (video) video.remove(); } };
}

async function photograph(box) {
  const camera = await live(box, { video: true });
  return async () => {
    const canvas = make("canvas", { width: camera.video.videoWidth, height: camera.video.videoHeight });
    canvas.getContext("2d").drawImage(camera.video, 0, 0);
    camera.end();
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    return new File([blob], "camera.png", { type: "image/png" });
  };
}

async function tape(box, wanted) {
  const source = await live(box, wanted), parts = [], recorder = new MediaRecorder(source.stream);
  recorder.ondataavailable = (event) => parts.push(event.data);
  const ended = new Promise((done) => { recorder.onstop = done; });
  recorder.start();
  return async () => {
    recorder.stop();
    await ended;
    source.end();
    return new Blob(parts, { type: recorder.mimeType });
  };
}

async function record(box) {
  const stop = await tape(box, { audio: true });
  return async () => new File([await asWave(await stop())], "recording.wav", { type: "audio/wav" });
}

async function film(box) {
  const stop = await tape(box, { video: true });
  return async () => { const clip = await stop(); return new File([clip], "recording.webm", { type: clip.type }); };
}

async function asWave(blob) {
  const context = new AudioContext(), sound = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
  const view = new DataView(new ArrayBuffer(44 + 2 * sound.length));
  const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * sound.length, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, sound.sampleRate, true);
  view.setUint32(28, 2 * sound.sampleRate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * sound.length, true);
  for (let i = 0; i < sound.length; i++) {
    const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
    view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, mean))), true);
  }
  return view.buffer;
}

// A box is four numbers, which can be typed, and a rectangle on the image it lies in, which can be drawn.
const FORMS = {
  xyxy: { names: ["x1", "y1", "x2", "y2"], of: (x, y, w, h) => [x, y, x + w, y + h], to: (a, b, c, d) => [a, b, c - a, d - b] },
  xywh: { names: ["x", "y", "width", "height"], of: (x, y, w, h) => [x, y, w, h], to: (a, b, c, d) => [a, b, c, d] },
  cxcywh: { names: ["cx", "cy", "width", "height"], of: (x, y, w, h) => [x + w / 2, y + h / 2, w, h], to: (a, b, c, d) => [a - c / 2, b - d / 2, c, d] },
};

function boxWidget(field, id, changed) {
  const how = FORMS[field.options.format || "xyxy"], shares = Boolean(field.options.normalised);
  const inputs = how.names.map((name, i) => make("input", { type: "number", step: "any", id: i ? fresh("corner") : id, oninput: () => { draw(); changed(); } }));
  const corners = make("div", { className: "corners" }, ...inputs.map((input, i) => make("label", {}, how.names[i], input)));
  const help = make("p", { className: "help" });
  const node = make("div", {}, corners, help);
  const rect = svg("rect");
  let owner = null;
  const sides = () => (shares && owner && owner.image ? [owner.image.naturalWidth, owner.image.naturalHeight] : [1, 1]);
  const get = () => (inputs.every((input) => input.value !== "") ? inputs.map((input) => Number(input.value)) : undefined);
  function draw() {
    const box = get();
    rect.style.display = box ? "" : "none";
    if (!box) return;
    const [w, h] = sides(), [x, y, width, height] = how.to(...box);
    Object.entries({ x: x * w, y: y * h, width: Math.max(0, width * w), height: Math.max(0, height * h) }).forEach(([name, value]) => rect.setAttribute(name, value));
  }
  function set(box) {
    inputs.forEach((input, i) => { input.value = box ? Number(box[i].toFixed(shares ? 4 : 1)) : ""; });
    draw();
    changed();
  }
  function drawn(x, y, w, h) {
    const [a, b] = sides();
    set(how.of(x / a, y / b, w / a, h / b));
  }
  function mount(image) {
    help.textContent = image ? "Draw the box on the image, or type its numbers." : `Type the numbers; with an image in ${field.refers_to || "its slot"} the box can be drawn on it.`;
    rect.remove();
    if (!image) return;
    stageOf(owner).append(rect);
    owner.chosen = owner.chosen && owner.chosen.rect.isConnected ? owner.chosen : widget;
    mark(owner);
    draw();
  }
  const widget = {
    node, get, set, rect, drawn,
    attach(other) {
      widget.remove();
      owner = other;
      if (owner) owner.onimage.push(mount);
      mount(owner ? owner.image : null);
    },
    remove() {
      rect.remove();
      if (owner) owner.onimage = owner.onimage.filter((tell) => tell !== mount);
    },
  };
  corners.addEventListener("focusin", () => { if (owner && rect.isConnected) { owner.chosen = widget; mark(owner); } });
  return widget;
}

function mark(owner) {
  owner.stage.querySelectorAll("rect").forEach((rect) => rect.classList.toggle("chosen", owner.chosen && rect === owner.chosen.rect));
}

function stageOf(owner) {
  const there = owner.stage.querySelector("svg");
  if (there) return there;
  const image = owner.image, canvas = svg("svg");
  canvas.setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
  canvas.setAttribute("preserveAspectRatio", "none");
  canvas.setAttribute("aria-hidden", "true"); // the numbers say the same
  owner.stage.classList.add("drawn");
  let from = null;
  const at = (event) => {
    const frame = canvas.getBoundingClientRect(), inside = (share) => Math.max(0, Math.min(1, share));
    return [inside((event.clientX - frame.left) / frame.width) * image.naturalWidth, inside((event.clientY - frame.top) / frame.height) * image.naturalHeight];
  };
  canvas.addEventListener("pointerdown", (event) => { from = at(event); canvas.setPointerCapture(event.pointerId); event.preventDefault(); });
  canvas.addEventListener("pointermove", (event) => {
    if (!from || !owner.chosen) return;
    const [x, y] = at(event);
    owner.chosen.drawn(Math.min(x, from[0]), Math.min(y, from[1]), Math.abs(x - from[0]), Math.abs(y - from[1]));
  });
  canvas.addEventListener("pointerup", () => { from = null; });
  owner.stage.append(canvas);
  return canvas;
}

// A table: a header, and cells; of triples three columns without a header, of a grid whole numbers.
function tableWidget(field, id, changed) {
  const kind = field.widget, headed = kind === "table";
  const across = kind === "triples" ? 3 : field.options.columns || (headed ? 2 : 4), down = (kind === "grid" && field.options.rows) || (headed ? 3 : kind === "triples" ? 1 : 4);
  let cells = blank(across, down);
  const table = make("table");
  const input = make("input", { type: "file", accept: ".csv,.tsv,text/csv", id: fresh("csv"), onchange: async () => { if (input.files[0]) set(await input.files[0].text()); input.value = ""; } });
  const more = kind === "triples" ? [] : [button("Add a column", () => { cells.forEach((row) => row.push("")); draw(); })];
  const fewer = kind === "triples" ? [] : [button("Remove a column", () => { if (cells[0].length > 1) cells.forEach((row) => row.pop()); draw(); })];
  const node = make("div", { className: "drop full" },
    make("div", { className: `cells${kind === "grid" ? " tight" : ""}` }, table),
    make("div", { className: "row" }, button("Add a row", () => { cells.push(cells[0].map(() => "")); draw(); }), ...more,
      button("Remove a row", () => { if (cells.length > (headed ? 2 : 1)) cells.pop(); draw(); }), ...fewer,
      input, make("label", { htmlFor: input.id }, "CSV file"), make("span", { className: "muted" }, "or paste from a sheet")));

  function blank(width, height) { return Array.from({ length: height }, () => Array(width).fill("")); }
  function draw() {
    table.replaceChildren(...cells.map((row, y) => make("tr", {}, ...row.map((value, x) => {
      const name = headed && !y ? `name of column ${x + 1}` : `row ${y + (headed ? 0 : 1)}, column ${x + 1}`;
      const cell = make("input", { value, ariaLabel: `${field.column}, ${name}`, spellcheck: false, oninput: () => { cells[y][x] = cell.value; changed(); } });
      if (!x && !y) cell.id = id;
      if (headed && !y) cell.placeholder = `column ${x + 1}`;
      return make(headed && !y ? "th" : "td", {}, cell);
    }))));
    changed();
  }
  table.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!/[\t\n]/.test(text.trim())) return;
    event.preventDefault();
    set(text);
  });
  node.addEventListener("dragover", (event) => event.preventDefault());
  node.addEventListener("drop", async (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) set(await event.dataTransfer.files[0].text()); });

  function set(value) {
    let rows = value === null ? blank(across, down) : typeof value === "string" ? separated(value) : value;
    if (!Array.isArray(rows)) rows = [Object.keys(rows), ...Object.values(rows)[0].map((_, i) => Object.values(rows).map((column) => column[i]))];
    else if (rows.length && !Array.isArray(rows[0])) rows = [Object.keys(rows[0]), ...rows.map((row) => Object.keys(rows[0]).map((name) => row[name]))].slice(headed ? 0 : 1);
    const width = Math.max(1, ...rows.map((row) => row.length));
    cells = rows.map((row) => Array.from({ length: width }, (_, x) => (row[x] === null || row[x] === undefined ? "" : String(row[x]))));
    draw();
  }
  function get() {
    if (cells.every((row) => row.every((cell) => cell === ""))) return undefined;
    return cells.filter((row, y) => (headed && !y) || row.some((cell) => cell !== "")).map((row, y) => row.map((cell) => (headed && !y ? cell : valued(cell))));
  }
  draw();
  return { node, get, set };
}

const valued = (cell) => (cell === "" ? null : /^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(cell) ? Number(cell) : cell);

function separated(text) {
  const mark = text.split("\n", 1)[0].includes("\t") ? "\t" : text.split("\n", 1)[0].includes(";") ? ";" : ",";
  const rows = [[]];
  let cell = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (quoted) {
      if (text[i] !== '"') cell += text[i];
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (text[i] === '"' && !cell) quoted = true;
    else if (text[i] === mark || text[i] === "\n") {
      rows.at(-1).push(cell.replace(/\r$/, ""));
      cell = "";
      if (text[i] === "\n") rows.push([]);
    } else cell += text[i];
  }
  if (cell || rows.at(-1).length) rows.at(-1).push(cell);
  return rows.filter((row) => row.length > 1 || row[0]);
}

export const WIDGETS = {
  text: textWidget, number: numberWidget, label: labelWidget, box: boxWidget, image: fileWidget, audio: fileWidget, video: fileWidget,
  motion: fileWidget, file: fileWidget, table: tableWidget, triples: tableWidget, grid: tableWidget,
};

export function manyWidget(field, id, changed) {
  const each = [], holder = make("div"), more = button("Add one", () => add());
  const node = make("div", {}, holder, more);
  let owner = null;
  function add(value) {
    const one = WIDGETS[field.widget](field, each.length ? fresh(id) : id, changed);
    const row = make("div", { className: "each", role: "group", ariaLabel: field.column }, one.node,
      button("Remove", () => { row.remove(); if (one.remove) one.remove(); each.splice(each.indexOf(one), 1); changed(); more.focus(); }));
    if (one.node.matches("input, textarea, select")) one.node.setAttribute("aria-label", `${field.column}, one of a list`);
    each.push(one);
    holder.append(row);
    if (one.attach && owner) one.attach(owner);
    if (value !== undefined) one.set(value);
    changed();
  }
  return {
    node,
    get: () => each.map((one) => one.get()).filter((value) => value !== undefined),
    set(values) { each.splice(0).forEach((one) => one.remove && one.remove()); holder.replaceChildren(); (values || []).forEach(add); changed(); },
    attach(other) { owner = other; each.forEach((one) => one.attach && one.attach(other)); },
    remove() { each.forEach((one) => one.remove && one.remove()); },
  };
}

// --- answers, drawn ---------------------------------------------------------------------------------------------------

// What a person sees of the value of a slot. near: {image, labels}: of a box the picture it lies in, and a word for each.
export function drawn(slot, value, near = {}) {
  const empty = value === null || value === undefined || (Array.isArray(value) && !value.length);
  if (empty) return make("p", { className: "muted" }, slot.repeated ? "(none)" : "(nothing)");
  if (slot.widget === "box") return boxes(slot, slot.repeated ? value : [value], near);
  if (slot.repeated && value.every((one) => typeof one === "string")) return make("ul", { className: "list" }, ...value.map((one) => make("li", {}, one)));
  if (slot.repeated) return make("div", { className: "row" }, ...value.map((one) => drawn({ ...slot, repeated: false }, one)));
  if (typeof value === "string") return text(slot, value);
  if (typeof value === "number") return make("p", { className: "text" }, `${Number(value.toPrecision(6))}${near.spread ? ` ± ${Number(near.spread.toPrecision(2))}` : ""}`);
  if (value.base64 !== undefined) return file(slot, value);
  if (value.skeleton) return moving(value, slot.column);
  if (Array.isArray(value) && value.every((row) => row && typeof row === "object")) return sheet(value, slot.widget);
  return make("pre", {}, JSON.stringify(value, null, 1));
}

function text(slot, value) {
  if (slot.widget === "table" || slot.widget === "grid") return make("pre", {}, value); // an answer that reads as no table
  return make("p", { className: value ? "text" : "muted" }, value || "(an empty text)");
}

function file(slot, { type, base64 }) {
  const url = `data:${type};base64,${base64}`, kind = type.split("/")[0];
  if (kind === "image") return make("img", { src: url, alt: `${slot.column}, as the model made it` });
  if (kind === "audio" || kind === "video") return make(kind, { src: url, controls: true, ariaLabel: slot.column });
  return make("a", { href: url, download: slot.column }, `${slot.column}, ${type}`);
}

function sheet(rows, kind) {
  const head = Array.isArray(rows[0]) ? [] : Object.keys(rows[0]);
  const cells = rows.map((row) => (Array.isArray(row) ? row : head.map((name) => row[name])));
  const cell = (tag) => (value) => make(tag, tag === "th" ? { scope: "col" } : {}, value === null || value === undefined ? "" : String(value));
  const table = make("table", { className: kind === "grid" ? "board" : "" });
  if (head.length) table.append(make("tr", {}, ...head.map(cell("th"))));
  table.append(...cells.map((row) => make("tr", {}, ...row.map(cell("td")))));
  return make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "the table" }, table);
}

const INKS = ["#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#c2255c", "#0b7285"];

function boxes(slot, values, { image, labels }) {
  const how = FORMS[slot.options.format || "xyxy"], word = (i) => (labels && labels.length === values.length ? String(labels[i]) : "");
  const told = make("ul", { className: "boxes" }, ...values.map((box, i) => {
    const ink = make("i", { ariaHidden: "true" });
    ink.style.background = INKS[i % INKS.length];
    const numbers = box ? `[${box.map((number) => Number(number.toFixed(slot.options.normalised ? 4 : 1))).join(", ")}]` : "(no box)";
    return make("li", {}, ink, `${word(i)} ${numbers}`.trim());
  }));
  if (!image) return told;
  const stage = make("div", { className: "stage" }, make("img", { src: image.src, alt: `${slot.column}: ${values.length} on the picture`, className: image.className, width: image.width })), canvas = svg("svg");
  const { naturalWidth: width, naturalHeight: height } = image;
  canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
  canvas.setAttribute("preserveAspectRatio", "none");
  canvas.setAttribute("aria-hidden", "true"); // the list says the same
  stage.append(canvas);
  values.forEach((box, i) => {
    if (!box) return;
    const [a, b] = slot.options.normalised ? [width, height] : [1, 1], [x, y, w, h] = how.to(...box), rect = svg("rect");
    Object.entries({ x: x * a, y: y * b, width: Math.max(0, w * a), height: Math.max(0, h * b) }).forEach(([name, number]) => rect.setAttribute(name, number));
    rect.style.stroke = INKS[i % INKS.length];
    canvas.append(rect);
    if (!word(i)) return;
    const tag = make("span", { className: y * b < 0.08 * height ? "tag inside" : "tag" }, word(i));
    Object.assign(tag.style, { left: `${(100 * x * a) / width}%`, top: `${(100 * y * b) / height}%`, background: INKS[i % INKS.length] });
    stage.append(tag);
  });
  return make("div", {}, stage, told);
}

// A motion: channels of a skeleton, frame by frame; drawn as it moves, seen aslant.
function moving(motion, column) {
  const frames = motion.values.map((values) => places(motion.skeleton, values));
  const { parents, ends, names } = motion.skeleton, bones = parents.map((parent, joint) => [parent, joint]).filter(([parent]) => parent >= 0);
  ends.forEach(([joint], i) => bones.push([joint, parents.length + i]));
  const canvas = make("canvas", { width: 560, height: 440, role: "img", ariaLabel: `${column}: a skeleton of ${names.length} joints that moves` });
  const pen = canvas.getContext("2d"), still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const slide = make("input", { type: "range", min: 0, max: Math.max(0, frames.length - 1), value: 0 });
  const turn = make("input", { type: "range", min: -180, max: 180, value: -40 });
  let playing = !still && frames.length > 1, shown = 0, began = performance.now();
  const play = button(playing ? "Pause" : "Play", () => {
    playing = !playing;
    play.textContent = playing ? "Pause" : "Play";
    began = performance.now() - 1000 * shown * motion.frame_time;
    if (playing) step();
  });
  function draw() {
    const angle = (Number(turn.value) * Math.PI) / 180, down = 0.26;
    const seen = ([x, y, z]) => { const depth = z * Math.cos(angle) - x * Math.sin(angle); return [x * Math.cos(angle) + z * Math.sin(angle), y * Math.cos(down) - depth * Math.sin(down)]; };
    const all = frames.flat().map(seen), low = [0, 1].map((i) => Math.min(...all.map((one) => one[i]))), high = [0, 1].map((i) => Math.max(...all.map((one) => one[i])));
    const scale = Math.min((canvas.width - 60) / Math.max(1e-6, high[0] - low[0]), (canvas.height - 60) / Math.max(1e-6, high[1] - low[1]));
    const at = (place) => { const [x, y] = seen(place); return [canvas.width / 2 + (x - (low[0] + high[0]) / 2) * scale, canvas.height / 2 - (y - (low[1] + high[1]) / 2) * scale]; };
    const style = getComputedStyle(canvas);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.lineWidth = 5;
    pen.lineCap = "round";
    for (const [parent, joint] of bones) {
      const name = (names[joint] || names[parent]).toLowerCase();
      pen.strokeStyle = name.includes("left") ? "#e8590c" : name.includes("right") ? "#1c7ed6" : style.color;
      pen.beginPath();
      pen.moveTo(...at(frames[shown][parent]));
      pen.lineTo(...at(frames[shown][joint]));
      pen.stroke();
    }
  }
  function step() {
    if (!playing || (began && !canvas.isConnected && performance.now() - began > 5000)) return;
    shown = Math.floor((performance.now() - began) / 1000 / motion.frame_time) % frames.length;
    slide.value = shown;
    draw();
    requestAnimationFrame(step);
  }
  slide.addEventListener("input", () => { if (playing) play.click(); shown = Number(slide.value); draw(); });
  turn.addEventListener("input", draw);
  requestAnimationFrame(() => { draw(); step(); });
  return make("div", { className: "moving" }, canvas, make("div", { className: "row" }, play, make("label", {}, "Frame ", slide), make("label", {}, "Turn ", turn)));
}

// A motion out of the text of a BVH file; null where it is none.
function readBVH(text) {
  const words = text.trim().split(/\s+/), skeleton = { names: [], parents: [], offsets: [], channels: [], ends: [] }, above = [];
  let i = 0, ending = false, joint = -1;
  for (; i < words.length && words[i] !== "MOTION"; i++) {
    if (words[i] === "ROOT" || words[i] === "JOINT") {
      skeleton.parents.push(above.length ? above.at(-1) : -1);
      joint = skeleton.names.push(words[++i]) - 1;
      skeleton.channels.push([]);
    } else if (words[i] === "End") ending = true;
    else if (words[i] === "{") above.push(joint);
    else if (words[i] === "}") { above.pop(); ending = false; }
    else if (words[i] === "OFFSET") {
      const offset = words.slice(i + 1, i + 4).map(Number);
      if (ending) skeleton.ends.push([above.at(-1), offset]);
      else skeleton.offsets.push(offset);
    } else if (words[i] === "CHANNELS") skeleton.channels[joint] = words.slice(i + 2, i + 2 + Number(words[i + 1]));
  }
  const at = words.indexOf("Time:", i) + 1, width = skeleton.channels.flat().length, numbers = words.slice(at + 1).map(Number);
  if (!at || !width || !numbers.length || numbers.some(Number.isNaN) || skeleton.offsets.length !== skeleton.names.length) return null;
  const values = Array.from({ length: Math.floor(numbers.length / width) }, (_, frame) => numbers.slice(frame * width, (frame + 1) * width));
  return values.length ? { frame_time: Number(words[at]) || 0.05, skeleton, values } : null;
}

// The places of joints, then of ends, in one frame: each turned and moved as its parent is.
export function places({ parents, offsets, channels, ends }, values) {
  const found = [], turns = [];
  let at = 0;
  parents.forEach((parent, joint) => {
    let place = [...offsets[joint]], turned = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    for (const name of channels[joint]) {
      const axis = "XYZ".indexOf(name[0]), value = values[at++];
      if (name.endsWith("position")) place[axis] = value;
      else turned = product(turned, about(axis, (value * Math.PI) / 180));
    }
    found.push(parent < 0 ? place : moved(turns[parent], place, found[parent]));
    turns.push(parent < 0 ? turned : product(turns[parent], turned));
  });
  return [...found, ...ends.map(([joint, offset]) => moved(turns[joint], offset, found[joint]))];
}

const product = (a, b) => a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
const moved = (turn, place, from) => turn.map((row, i) => from[i] + row[0] * place[0] + row[1] * place[1] + row[2] * place[2]);

function about(axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle), [i, j] = [(axis + 1) % 3, (axis + 2) % 3], made = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  made[i][i] = made[j][j] = c;
  made[i][j] = -s;
  made[j][i] = s;
  return made;
}
