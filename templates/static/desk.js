// What the pages of tickets share: parts of the page that follow the hub, clocks
// that run, and being on duty.

import { local } from "./times.js";
import { $, $$, page } from "./ui.js";

// Parts of a page (data-live) are drawn by the server alone: the script asks for the
// page again and takes them over.

const LEAST = 1500; // ms between two questions
const UNTOLD = 12000; // and at most, where the hub does not tell
let timer = 0, asked = 0, asking = false, again = false;

// plain is what a part says, without what is new in each answer.
const plain = (html) => html.replace(/name="nonce" value="[^"]*"/g, "").replace(/<time[^>]*>[^<]*/g, (t) => t.replace(/ title="[^"]*"|>[^]*/g, ""));

const shown = new Map($$("[data-live]").map((part) => [part.id, plain(part.innerHTML)]));

// busy: somebody is just using the part.
function busy(part) {
  const at = document.activeElement;
  if (part.contains(at) && /^(INPUT|SELECT|TEXTAREA|BUTTON)$/.test(at.tagName) && at.type !== "checkbox") return true;
  if (part.id === "rows") return part.matches(":hover") || !!$(":checked", part);
  return $$("input:not([type=hidden], [type=checkbox], [type=radio]), textarea", part).some((i) => i.value !== i.defaultValue);
}

function take(part, next) {
  const html = plain(next.innerHTML);
  if (shown.get(part.id) === html) return;
  if (busy(part)) return void part.dispatchEvent(new CustomEvent("stale"));
  shown.set(part.id, html);
  const open = $$("details[open] > summary", part).map((s) => s.textContent);
  part.replaceChildren(...next.childNodes);
  part.className = next.className;
  for (const s of $$("details > summary", part)) if (open.includes(s.textContent)) s.parentNode.open = true;
  local(part);
  tick();
  part.dispatchEvent(new CustomEvent("taken"));
}

async function ask() {
  timer = 0;
  if (document.visibilityState === "hidden") return;
  if (asking) return void (again = true); // the answer may be older than what has happened
  asking = true;
  again = false;
  asked = Date.now();
  try {
    const res = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin", signal: AbortSignal.timeout(15000) });
    if (res.redirected) return void location.reload();
    if (!res.ok) return;
    const doc = new DOMParser().parseFromString(await res.text(), "text/html");
    for (const part of $$("[data-live]")) {
      const next = doc.getElementById(part.id);
      if (next) take(part, next);
    }
  } catch { /* away: it is asked again */ } finally {
    asking = false;
    if (again) refresh();
  }
}

// refresh has the parts follow the hub soon; many calls are one question.
export function refresh() {
  if (!timer) timer = setTimeout(ask, Math.max(150, LEAST - (Date.now() - asked)));
}

// follow asks when the hub says that something has happened. Where it does not tell, the
// header says so, and it asks by itself; every so often it does anyway.
export function follow(client, selectors, every = 60000) {
  const untold = new Set();
  client.on("watching", ({ ticket_id, topics, ok }) => {
    const topic = ticket_id ?? topics[0], known = untold.has(topic);
    if (ok) untold.delete(topic);
    else untold.add(topic);
    if (client.state === "online") say(untold.size > 0);
    if (ok || !known) refresh();
  });
  client.on("desk", refresh);
  client.on("board", refresh);
  for (const s of selectors) client.watch(s);
  let last = Date.now();
  setInterval(() => {
    if (Date.now() - last < (untold.size ? Math.min(every, UNTOLD) : every)) return;
    last = Date.now();
    refresh();
  }, 3000);
  document.addEventListener("visibilitychange", refresh);
  document.addEventListener("focusout", () => setTimeout(refresh, 0));
}

function say(untold) {
  const box = $("#conn");
  box.dataset.state = untold ? "asking" : "online";
  $("span", box).textContent = untold ? `asks every ${UNTOLD / 1000} s` : "connected";
}

// duty tells the hub that the agent is there as long as this page is open.
export function duty(client) {
  if (page.duty) client.on("hello", () => client.request({ type: "duty" }).catch(() => {}));
}

// ---- clocks

function span(s) {
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return s + " s";
  if (s < 600) return `${Math.floor(s / 60)}:${two(s % 60)} min`;
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s % 3600 / 60))} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

function tick() {
  for (const time of $$("time[data-as=since]")) time.textContent = span(Math.max(0, Math.round((Date.now() - new Date(time.dateTime)) / 1000)));
  for (const time of $$(".due time[datetime]")) {
    const box = time.parentNode, left = Math.round((new Date(time.dateTime) - Date.now()) / 1000);
    time.textContent = left < 0 ? span(-left) + " late" : "in " + span(left);
    box.classList.toggle("late", left < 0);
    box.classList.toggle("warn", left >= 0 && Date.now() >= new Date(time.dataset.warn));
  }
}
tick();
setInterval(tick, 1000);

// ---- offers: a page that is not looked at says so in its title

const title = document.title;
function offers() {
  const n = $$("#self .offer").length;
  document.title = n ? `(${n} offered) ${title}` : title;
}
$("#self")?.addEventListener("taken", offers);
offers();
