// One room, live.

import { compose, edit, focus, landed, reply, settle, unreply, waiting } from "./composer.js";
import { apply, arrangeAll, avatar, blank, fill, find, insert, list } from "./message.js";
import { $, $$, api, connection, el, page, renew } from "./ui.js";
import { VezeClient } from "./veze.js";

const scroll = $("#scroll"), log = $("#log"), jump = $("#jump"), typing = $("#typing"), picker = $("#picker");
const client = new VezeClient({ base: page.base, user: page.me, renew });
const MOST = 800; // messages kept in the page while it follows the end

// ---- scrolling: the column is reversed, 0 is the end

const atEnd = () => Math.abs(scroll.scrollTop) < 48;
const toEnd = () => { scroll.scrollTop = 0; jump.hidden = true; fresh = 0; };
const pill = (text) => { jump.textContent = text; jump.hidden = false; };
let fresh = 0;

// still runs fn and leaves what is on the screen where it was.
function still(fn) {
  const top = scroll.getBoundingClientRect().top;
  const anchor = list().find((li) => li.getBoundingClientRect().bottom > top);
  const was = anchor?.getBoundingClientRect().top;
  fn();
  if (anchor?.isConnected) scroll.scrollTop += anchor.getBoundingClientRect().top - was;
}

function came(li) {
  if (+li.dataset.user === page.me) return toEnd();
  fresh++;
  pill(fresh + " new ↓");
}

scroll.addEventListener("scroll", () => {
  if (atEnd()) { fresh = 0; jump.hidden = true; read(); }
  else if (jump.hidden) pill("Jump to latest ↓");
}, { passive: true });
jump.addEventListener("click", () => { toEnd(); focus(); });

// ---- events

client.on("event", (e) => {
  if (e.type === "chat.message.created") landed(e);
  if (e.type.startsWith("room.")) { member(e); return; }
  const end = atEnd();
  let made;
  if (end) { made = apply(e); scroll.scrollTop = 0; } else still(() => { made = apply(e); });
  if (!made) return;
  forget(e.user_id);
  waiting(client);
  if (!end) came(made);
  else { trim(); read(); }
});
client.on("joined", ({ head }) => { settle(client, Math.min(head, client.cursor(page.room))); client.request({ type: "who", room_id: page.room }).then(present).catch(() => {}); });
// What a bot says to this person alone: the last five, until they are put away.
client.on("ephemeral", (f) => {
  if (f.room_id !== page.room) return;
  const all = $("#whispers"), li = el("li", {}, el("small", {}, `only you see this · ${f.handle ?? "hub"}:`), el("span", {}, f.text));
  li.append(el("button", { type: "button", className: "quiet", ariaLabel: "Put it away", onclick: () => li.remove() }, "✕"));
  all.append(li);
  while (all.children.length > 5) all.firstElementChild.remove();
  if (atEnd()) toEnd();
});
client.on("reset", reload);
client.on("gone", () => { location.href = page.base + "/rooms?gone=1"; });

function trim() {
  const all = list();
  for (const li of all.slice(0, Math.max(0, all.length - MOST))) {
    if (li.previousElementSibling?.matches(".day, .new")) li.previousElementSibling.remove();
    li.remove();
    page.more = true;
  }
}

// reload: the hub cannot tell what was missed; load the room again.
async function reload() {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 20000)) {
    try {
      const { messages, more, head } = await api("GET", `/rooms/${page.room}/messages?limit=50`);
      log.replaceChildren();
      for (const m of messages) insert(fill(blank(), m));
      page.more = more;
      older();
      settle(client, head);
      return client.reload(page.room, head);
    } catch (err) {
      if (err.status === 404 || err.status === 401) { location.reload(); return; }
      await new Promise((r) => setTimeout(r, wait));
    }
  }
}

// ---- read position: what was at the end of a visible page

let marked = page.read || 0, readTimer = 0;
function read() {
  if (readTimer) return;
  readTimer = setTimeout(() => {
    readTimer = 0;
    const upto = client.cursor(page.room) ?? 0;
    if (document.visibilityState !== "visible" || !atEnd() || upto <= marked) return;
    marked = upto;
    client.tell({ type: "read", room_id: page.room, upto });
  }, 800);
}
document.addEventListener("visibilitychange", read);

// ---- older messages

let loading = false;
function older() {
  const p = $(".older"), a = $("#older") ?? el("a", { id: "older" }, "Older messages");
  const first = list()[0];
  if (!page.more || !first) return p.replaceChildren("The beginning of this room.");
  a.href = `${page.base}/rooms/${page.room}?before=${first.dataset.id}`;
  p.replaceChildren(a);
}

async function loadOlder() {
  const first = list()[0];
  if (loading || !page.more || !first) return;
  loading = true;
  try {
    const { messages, more } = await api("GET", `/rooms/${page.room}/messages?before=${first.dataset.id}&limit=50`);
    page.more = more;
    still(() => {
      log.setAttribute("aria-busy", "true");
      for (const m of messages) if (!find(m.message_id)) insert(fill(blank(), m));
      older();
      log.removeAttribute("aria-busy");
    });
    loading = false;
    top.disconnect();
    top.observe($(".older")); // still in sight: go on
  } catch { loading = false; /* the link is still there */ }
}
const top = new IntersectionObserver((seen) => { if (seen.at(-1).isIntersecting) loadOlder(); }, { root: scroll, rootMargin: "200px" });

// ---- who types, who is here

const typists = new Map();
function forget(id) {
  clearTimeout(typists.get(id)?.timer);
  if (typists.delete(id)) typed();
}
function typed() {
  const names = [...typists.values()].map((t) => t.handle), n = names.length;
  typing.textContent = n ? `${n > 3 ? "Several people" : names.join(", ")} ${n === 1 ? "is" : "are"} typing…` : "";
}
client.on("typing", (f) => {
  if (f.room_id !== page.room || f.user_id === page.me) return;
  clearTimeout(typists.get(f.user_id)?.timer);
  typists.set(f.user_id, { handle: f.handle, timer: setTimeout(() => forget(f.user_id), 5000) });
  typed();
});

const people = new Map((page.members ?? []).map((m) => [m.id, m]));
const here = new Set($$("#people .here").map((li) => +li.dataset.user));

// present takes who is here: all of them, a change, or in big rooms a number.
function present(f) {
  if (f.room_id !== page.room) return;
  if (!f.delta) here.clear();
  for (const p of f.users ?? f.joined ?? []) { here.add(p.id); people.has(p.id) || people.set(p.id, { ...p, guest: true }); }
  for (const p of f.left ?? []) here.delete(p.id);
  // Who is no member is among the people only while they are here.
  for (const p of people.values()) if (p.guest && !here.has(p.id)) people.delete(p.id);
  roster(f.count);
}
client.on("presence", present);

let members = +$("#count")?.textContent || 0;
function member(e) {
  const was = people.has(e.user_id) && !people.get(e.user_id).guest;
  if (e.type === "room.member.joined") {
    people.set(e.user_id, { id: e.user_id, handle: e.handle, role: e.role || "member" });
    members += !was;
  } else if (/\.(left|kicked|banned)$/.test(e.type)) {
    people.delete(e.user_id);
    members -= was;
    if (e.user_id === page.me && !out) location.href = page.base + (/left/.test(e.type) ? "/rooms" : "/rooms?gone=1");
  } else if (e.type === "room.updated" && e.name) $(".roomhead h1").textContent = e.name;
  else if (e.type === "room.archived") location.reload();
  roster();
}

const rank = { member: 1, moderator: 2, owner: 3 };
const button = (m, word, path) => el("form", { method: "post", action: page.base + path },
  el("input", { type: "hidden", name: "_csrf", value: $('meta[name="csrf"]').content }),
  el("button", { className: "quiet", ariaLabel: `${word} ${m.handle}` }, word));
const blocker = (m, off = page.blocked?.includes(m.id)) => button(m, off ? "Unblock" : "Block", `/users/me/blocks/${m.id}?_method=${off ? "DELETE" : "PUT"}`);
$("#people").addEventListener("submit", async (e) => {
  if (e.submitter.textContent !== "Remove") return;
  e.preventDefault();
  if (await sure(e.submitter.ariaLabel + "?", "They can be added again.", "Remove")) e.target.submit();
});

function roster(count = here.size) {
  $("#here").textContent = count;
  if ($("#count")) $("#count").textContent = members; // not in global rooms
  const all = [...people.values()].sort((a, b) => here.has(b.id) - here.has(a.id) || a.handle.localeCompare(b.handle));
  $("#people").replaceChildren(...all.slice(0, 200).map((m) => {
    const on = here.has(m.id), staff = m.role && m.role !== "member";
    return el("li", { className: on ? "here" : "" }, avatar(m.id, m.handle), el("span", {}, m.handle),
      ...(staff ? [el("small", {}, m.role)] : []), ...(on ? [el("span", { className: "sr" }, " online")] : []),
      ...(m.id === page.me ? [] : [page.block && blocker(m), page.above > rank[m.role] && button(m, "Remove", `/rooms/${page.room}/members/${m.id}/remove`)]).filter(Boolean));
  }));
}

// ---- what can be done to a message

const act = (frame) => client.request({ room_id: page.room, ...frame }).catch((err) => { typing.textContent = err.message; });
const toggle = (li, emoji) => {
  const b = $$(".reacts button", li).find((x) => x.dataset.emoji === emoji);
  act({ type: b?.getAttribute("aria-pressed") === "true" ? "unreact" : "react", message_id: +li.dataset.id, emoji });
};

function sure(title, text, yes = "Delete") {
  const d = $("#sure");
  $("h2", d).textContent = title;
  $("p", d).textContent = text;
  $(".danger", d).textContent = yes;
  d.returnValue = "";
  d.showModal();
  return new Promise((r) => { d.onclose = () => r(d.returnValue === "yes"); });
}

async function remove(li) {
  if (await sure("Delete this message?", $(".text", li).textContent.slice(0, 200))) act({ type: "delete", message_id: +li.dataset.id });
}

let picked = null;
function pick(li) {
  picked = li;
  picker.hidden = false;
  li.append(picker); // positioned by the style sheet beside its message
  picker.classList.toggle("up", li.getBoundingClientRect().top > innerHeight / 2);
  $("button", picker).focus();
}
function unpick() {
  if (picker.hidden) return false;
  picker.hidden = true;
  document.body.append(picker);
  picked?.focus();
  return true;
}
picker.addEventListener("click", (e) => {
  const b = e.target.closest("button"), li = picked;
  e.stopPropagation();
  if (b) { unpick(); toggle(li, b.textContent); }
});

log.addEventListener("click", (e) => {
  const li = e.target.closest(".msg"), on = (sel) => e.target.closest(sel);
  if (!li) return;
  if (on(".t-reply")) { e.preventDefault(); reply(li); }
  else if (on(".t-edit")) edit(li, client);
  else if (on(".t-delete")) remove(li);
  else if (on(".t-react")) pick(li);
  else if (on(".react") && page.post) toggle(li, on(".react").dataset.emoji);
});

// ---- keys

function walk(from, step) {
  const all = list(), i = from ? all.indexOf(from) + step : all.length - 1;
  all[Math.max(0, Math.min(all.length - 1, i))]?.focus();
}

document.addEventListener("keydown", (e) => {
  const at = document.activeElement, writing = /^(TEXTAREA|INPUT)$/.test(at.tagName), li = at.closest?.(".msg");
  if ($("dialog[open]")) return;
  if (e.key === "Escape") {
    if (!unpick() && !unreply() && $("#roster").open) $("#roster").open = false;
    else if (li) focus();
    return;
  }
  if (e.altKey && e.key === "ArrowUp") {
    e.preventDefault();
    edit(list().filter((x) => x.matches(".mine:not(.gone)")).at(-1), client);
    return;
  }
  if (writing || e.ctrlKey || e.metaKey || e.altKey) return;
  if (picker.contains(at)) {
    if (/^Arrow(Left|Right)$/.test(e.key)) (e.key === "ArrowLeft" ? at.previousElementSibling : at.nextElementSibling)?.focus();
    return;
  }
  const keys = {
    "?": () => $("#help").showModal(), "/": focus,
    ...((li || at === log) && { ArrowUp: () => walk(li, -1), ArrowDown: () => walk(li, 1), End: toEnd }),
    ...(at === li && li && !li.matches(".gone") && page.post && { r: () => reply(li), e: () => edit(li, client), "+": () => pick(li), Delete: () => $(".t-delete", li).hidden || remove(li) }),
  };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
document.addEventListener("click", (e) => {
  if (!picker.hidden && !e.target.closest(".t-react")) unpick();
  if (!e.target.closest("#roster")) $("#roster").open = false;
});
$("#help-open").addEventListener("click", () => $("#help").showModal());
let out = false; // the form leads away, not its event
$("#leave")?.addEventListener("submit", async (e) => {
  e.preventDefault();
  const form = e.target;
  if (out = await sure("Leave this room?", "You can come back if it is open.", "Leave")) form.submit();
});

// ---- begin

arrangeAll();
connection(client);
compose(client, toEnd);
if (page.live) {
  $(".older").addEventListener("click", (e) => { if (e.target.id === "older") { e.preventDefault(); loadOlder(); } });
  top.observe($(".older"));
  client.join(page.room, { after: page.head, epoch: page.epoch });
  client.connect();
  read();
  const unread = $("#new");
  if (!location.hash && unread && unread.offsetTop < scroll.scrollTop + scroll.scrollHeight - 2 * scroll.clientHeight) unread.scrollIntoView({ block: "center" });
} else $("#conn").hidden = true;
