// The page around the model: what is typed is answered here, and how long that took is told.
import {opened} from "./model.js";

const WAIT = 100, NEAR = 0.02;  // milliseconds after a key; what a value may be off by in a check
const at = id => document.getElementById(id);
let model = null, asked = 0, timer = 0;

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
// Whether this browser reads and answers some texts as the runner did that made this page.
async function checked() {
  for (const {text, ids, record} of model.about.checks) {
    const isRead = JSON.stringify(model.read(model.clean(text))) === JSON.stringify(ids);
    if (!isRead || !isNear(await model.answer(text), record)) return text;
  }
  return null;
}
const isNear = (own, theirs) => Object.entries(theirs).every(([key, value]) =>
  typeof value === "number" ? Math.abs(own[key] - value) <= NEAR * Math.max(1, Math.abs(value)) : !isMap(value) || isNear(own[key], value));

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
  model = await opened();
  const {name, noun, manifest} = model.about, other = await checked();
  at("model").textContent = name;
  document.title = `${name} · Winnow`;
  at("about").replaceChildren(`${named(noun)} that runs in this page: no text leaves it. Manifest `, made("code", manifest.slice(0, 12)));
  at("answer").replaceChildren();
  at("loaded").textContent = `Loaded ${size()} in ${((performance.now() - begin) / 1000).toFixed(1)} s. `
    + `${model.about.checks.length} texts were answered as the runner answers them.`;
  if (other !== null) throw new Error(`this browser does not answer '${other}' as the runner does`);
  document.documentElement.dataset.ready = "";
  ask();
} catch (error) {
  model = null;
  at("loaded").textContent = "";
  at("answer").replaceChildren(refused({what: "the model cannot be used", found: error.message, next: "Take another browser, or a new copy of the folder."}));
}
