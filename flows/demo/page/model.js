// The model in this page: a text is cleaned, read as tokens, and answered, as the runner of stages/backends does it.
import * as ort from "./vendor/onnxruntime-web.js";
import {Tokenizer} from "./vendor/tokenizers.js";
import {cleaner} from "./cleaning.js";

const ENGINE = "vendor/onnxruntime-web.wasm", GRAPH = "model/model.onnx", TOKENIZER = "model/tokenizer.json";
const BATCH_TOKENS = 2048;  // as in stages/backends/batching.py

// {about, clean, read, answer}, once all is loaded; each file must be the one that demo.json names.
export async function opened() {
  const about = await (await fetched("demo.json")).json();
  const of = name => fetched(name, about.files[name]);
  const [engine, graph, tokens] = await Promise.all([of(ENGINE), of(GRAPH), of(TOKENIZER)]);
  ort.env.wasm.wasmBinary = await engine.arrayBuffer();
  ort.env.wasm.numThreads = 1;  // more need headers that a static host does not send
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(new Uint8Array(await graph.arrayBuffer()), {executionProviders: ["wasm"]});
  const clean = about.cleaning ? cleaner(about.cleaning, about.tables) : text => text;
  const read = reader(new Tokenizer(await tokens.json(), {}), about.reading);
  const {recorder} = await import(`./tasks/${about.task}.js`);
  const run = runner(session), record = recorder(about.space), temperature = Math.fround(about.temperature);
  const answer = async text => record((await logitsOf(read(clean(text)), run)).map(value => Math.fround(value) / temperature));
  return {about, clean, read, answer};
}
async function fetched(name, integrity) {
  const response = await fetch(name, {integrity});
  if (!response.ok) throw new Error(`${name}: the server said ${response.status}`);
  return response;
}

// read(text) -> windows of token ids. What the two tokenizers would see with other eyes is made alike before.
function reader(tokenizer, {characters, max_tokens, stride, before, after, spaced, odd, letter, lower}) {
  const ideographs = new RegExp(`[${spaced}]`, "gu"), oddities = new RegExp(`[${odd}]`, "gu");
  const room = max_tokens - before.length - after.length;
  return text => {
    let seen = Array.from(text).slice(0, characters).join("").replace(/\p{Surrogate}/gu, "?");
    if (spaced) seen = seen.replace(ideographs, " $& ");
    seen = seen.replace(oddities, letter);
    for (const [capital, small] of Object.entries(lower)) seen = seen.replaceAll(capital, small);
    const ids = tokenizer.encode(seen, {add_special_tokens: false}).ids;
    const windows = stride === null ? [ids.slice(0, room)] : overlapping(ids, room, stride);
    return windows.map(window => [...before, ...window, ...after]).map(window => window.length ? window : [0]);
  };
}
function overlapping(ids, room, stride) {
  const windows = [];
  let first = 0;
  do {
    windows.push(ids.slice(first, first + room));
    first += room - stride;
  } while (first + stride < ids.length);
  return windows;
}

// run(windows of one length) -> the logits of each. One after another: a session answers one question at a time.
function runner(session) {
  let last = Promise.resolve();
  return windows => {
    const shape = [windows.length, windows[0].length], count = shape[0] * shape[1];
    const feeds = {
      input_ids: new ort.Tensor("int64", BigInt64Array.from(windows.flat(), BigInt), shape),
      attention_mask: new ort.Tensor("int64", new BigInt64Array(count).fill(1n), shape),
    };
    const taken = Object.fromEntries(session.inputNames.map(name => [name, feeds[name]]));
    const done = last.then(async () => {
      const {data} = (await session.run(taken, ["logits"])).logits, size = data.length / windows.length;
      return windows.map((_, at) => Array.from(data.slice(at * size, (at + 1) * size)));
    });
    last = done.catch(() => null);
    return done;
  };
}
// Those of a text: the mean of its windows, each counted by its tokens. Windows of one length are run together.
async function logitsOf(windows, run) {
  const found = new Array(windows.length);
  for (const length of new Set(windows.map(window => window.length))) {
    const own = windows.map((_, at) => at).filter(at => windows[at].length === length);
    const most = Math.max(1, Math.floor(BATCH_TOKENS / length));
    for (let first = 0; first < own.length; first += most) {
      const places = own.slice(first, first + most), logits = await run(places.map(at => windows[at]));
      places.forEach((place, at) => { found[place] = logits[at]; });
    }
  }
  if (found.length === 1) return found[0];
  const tokens = windows.reduce((sum, window) => sum + window.length, 0);
  return found[0].map((_, k) => windows.reduce((sum, window, at) => sum + found[at][k] * window.length, 0) / tokens);
}
