// The page around the model: what is typed is answered here, and how long that took is told.
import {opened} from "./model.js";

const WAIT = 100, NEAR = 0.02;  // milliseconds after a key; what a value may be off by in a check
const at = id => document.getElementById(id);
export let model = null;  // once it is ready
let asked = 0, timer = 0;

async function ask() {
  clearTimeout(timer);
  const text = at("text").value, own = ++asked;
  if (model === null) return;
  if (!text.trim()) { at("answer").replaceChildren(); at("took").textContent = ""; return; }
  try {
    const begin = performance.now(), record = await model.answer(text), took = performance.now() - begin;
    if (own !== asked) return;
    at("answer").replaceChildren(...answered(record, text));
    at("took").textContent = `Answered in ${took.toFixed(1)} ms, on this device.`;
  } catch (error) {
    at("answer").replaceChildren(refused({what: "no answer came", found: error.message, next: "Load the page again."}));
  }
}
// The first of some texts that this browser reads or answers otherwise than the runner did that made this page, or null.
async function unlike({about, clean, read, answer}, checks) {
  const near = NEAR * (about.space.deviation ?? 1);  // of numbers a share of how far they lie apart
  for (const {text, ids, record} of checks) {
    const isRead = JSON.stringify(read(clean(text))) === JSON.stringify(ids);
    if (!isRead || !isNear(await answer(text), record, near)) return text;
  }
  return null;
}
const isNear = (own, theirs, near) => Object.entries(theirs).every(([key, value]) =>
  typeof value === "number" ? Math.abs(own[key] - value) <= near : !isMap(value) || isNear(own[key], value, near));

function size() {
  const bytes = performance.getEntries().reduce((sum, entry) => sum + (entry.decodedBodySize ?? 0), 0);
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
at("form").addEventListener("submit", event => { event.preventDefault(); ask(); });
at("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
});
at("text").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, WAIT); });
try {
  const begin = performance.now();
  const found = await opened(), {name, noun, manifest, checks} = found.about, other = await unlike(found, checks);
  if (other !== null) throw new Error(`this browser does not answer '${other}' as the runner does`);
  at("model").textContent = name;
  document.title = `${name} · Winnow`;
  at("about").replaceChildren(`${named(noun)} that runs in this page: no text leaves it. Manifest `, made("code", manifest.slice(0, 12)));
  at("answer").replaceChildren();
  at("loaded").textContent = `Loaded ${size()} in ${((performance.now() - begin) / 1000).toFixed(1)} s. `
    + `${checks.length} texts were answered as the runner answers them.`;
  model = found;
  document.documentElement.dataset.ready = "";
  ask();
} catch (error) {
  at("answer").replaceChildren(refused({what: "the model cannot be used", found: error.message, next: "Take another browser, or a new copy of the folder."}));
}
