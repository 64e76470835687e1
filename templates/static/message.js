// Messages in the page: made from the server's own template, so that live ones
// look like rendered ones, and changed by events. Applying an event twice is the
// same as applying it once.

import { render } from "./markdown.js";
import { whole } from "./times.js";
import { $, $$, api, clock, dayKey, dayName, el, page } from "./ui.js";

const GROUP_MS = 5 * 60 * 1000;
const log = $("#log"), notes = $("#notes");
export const find = (id) => document.getElementById("m" + id);
export const list = (of = log) => $$(":scope > .msg", of);
// where is the list of a room: a ticket's page has two.
const where = (room) => notes && room === page.notes ? notes : log;
const show = (node, yes) => { node.hidden = !yes; };

export const avatar = (id, handle) => el("span", { className: "avatar hue" + (id % 8), ariaHidden: "true" },
  (/[\p{L}\p{N}]/u.exec(handle)?.[0] ?? "?").toUpperCase());

// fill writes a message (as GET /rooms/{id}/messages gives it) into its element.
export function fill(li, m) {
  if (m.message_id) li.id = "m" + m.message_id;
  Object.assign(li.dataset, { id: m.message_id ?? 0, user: m.user_id, at: m.at });
  li.classList.toggle("mine", m.user_id === page.me);
  const who = $(".who", li), time = $("time", li);
  $(".avatar", li).replaceWith(avatar(m.user_id, m.handle));
  who.className = "who hue" + (m.user_id % 8);
  who.textContent = m.handle;
  $(".at", li).setAttribute("href", "#" + li.id);
  time.dateTime = m.at;
  clock(time);
  const flagged = (...of) => (m.flags ?? []).some((f) => of.includes(f));
  if (flagged("bot")) $(".team", li).textContent = "bot";
  show($(".team", li), page.ticket ? m.room_id === page.room && flagged("staff", "bot") : flagged("bot"));
  $(".t-reply", li).href = `${page.base}/rooms/${page.room}?reply=${m.message_id}#composer`;
  if (m.reply_to) quote(li, m.reply_to, m.reply);
  text(li, m.text, !!m.edited_at);
  reactions(li, m.reactions ?? []);
  if (m.deleted || m.hidden || blocked(m)) gone(li, m.deleted, blocked(m));
  else tools(li);
  return li;
}

export const blank = () => $("#blank").content.firstElementChild.cloneNode(true);

function tools(li) {
  const mine = li.classList.contains("mine");
  li.classList.remove("gone");
  show($(".tools", li), !page.ticket); // on a ticket's page nothing is done to a message
  show($(".t-reply", li), page.post);
  show($(".t-react", li), page.post);
  show($(".t-edit", li), mine && page.post);
  show($(".t-delete", li), mine || page.amend);
}

function text(li, s, edited) {
  $(".text", li).replaceChildren(render(s ?? ""));
  if (s !== undefined) raw.set(li, s);
  show($(".edited", li), edited);
}

const raw = new WeakMap();

// source is a message's text as it was typed; of those that the server rendered
// it is asked for.
export async function source(li) {
  return raw.get(li) ?? (await fetchOne(+li.dataset.id))?.text ?? "";
}

export async function fetchOne(id) {
  const { messages } = await api("GET", `/rooms/${page.room}/messages?after=${id - 1}&limit=1`);
  return messages.find((m) => m.message_id === id);
}

function quote(li, id, preview) {
  const q = $(".quote", li), target = find(id);
  q.href = "#m" + id;
  show(q, true);
  if (!preview && target && !target.classList.contains("gone")) {
    preview = { handle: $(".who", target).textContent, text: $(".text", target).textContent };
  }
  $("b", q).textContent = preview?.handle ?? "";
  $(":scope > span:last-child", q).textContent = preview ? render((preview.text ?? "").replace(/\s+/g, " ")).textContent.slice(0, 120) || "message is gone" : "an earlier message";
  if (!preview && !target) fetchOne(id).then((m) => { if (m) quote(li, id, m); }).catch(() => {});
}

const blocked = (m) => (page.blocked ?? []).includes(m.user_id);

function gone(li, deleted, unwanted) {
  $(".text", li).replaceChildren(el("p", { className: "placeholder" }, unwanted && !deleted ? "A message of somebody whom you block." : deleted ? "This message was deleted." : "This message was hidden by a moderator."));
  li.classList.add("gone");
  raw.delete(li);
  show($(".edited", li), false);
  show($(".tools", li), false);
  $(".reacts", li).replaceChildren();
  for (const q of $$(`.quote[href="#${li.id}"] > span:last-child`)) q.textContent = "message is gone";
}

function reactions(li, all) {
  $(".reacts", li).replaceChildren();
  for (const r of all) put(li, r.emoji, r.users, r.count);
}

function put(li, emoji, users, count) {
  const ul = $(".reacts", li);
  let b = $$("button", ul).find((x) => x.dataset.emoji === emoji);
  if (count <= 0) return b?.parentNode.remove();
  if (!b) {
    b = el("button", { type: "button", className: "react" }, emoji + " ", el("span"));
    b.dataset.emoji = emoji;
    ul.append(el("li", {}, b));
  }
  b.dataset.users = users.join();
  b.dataset.count = count;
  b.setAttribute("aria-pressed", users.includes(page.me));
  $("span", b).textContent = count;
}

function react(li, e, add) {
  const b = $$(".reacts button", li).find((x) => x.dataset.emoji === e.emoji);
  const users = b?.dataset.users ? b.dataset.users.split(",").map(Number) : [];
  let count = +(b?.dataset.count ?? 0);
  const had = users.includes(e.user_id);
  // Of more than 50 the server names only the first: the rest is a number.
  if (add && !had) { users.push(e.user_id); count++; }
  else if (!add && (had || count > users.length)) { if (had) users.splice(users.indexOf(e.user_id), 1); count--; }
  put(li, e.emoji, users, count);
}

// apply changes the page by one event of the room; it returns the new element of
// a created message.
export function apply(e) {
  const id = e.message_id, li = find(id);
  if (e.type === "chat.message.created") {
    if (li) return null;
    const made = fill(blank(), e);
    insert(made, where(e.room_id));
    return made;
  }
  if (!li) return null;
  const dead = li.classList.contains("gone");
  switch (e.type) {
    case "chat.message.edited": if (!dead) text(li, e.text, true); break;
    case "chat.message.deleted": gone(li, true); break;
    case "chat.message.hidden": if (!dead) gone(li, false); break;
    case "chat.message.restored": fetchOne(id).then((m) => m && fill(li, m)).catch(() => {}); break;
    case "chat.reaction.added": if (!dead) react(li, e, true); break;
    case "chat.reaction.removed": if (!dead) react(li, e, false); break;
  }
  return null;
}

// insert puts a message at its place; nearly always that is the end.
export function insert(li, into = log) {
  const id = +li.dataset.id;
  let next = null;
  $(":scope > .empty", into)?.remove();
  for (let p = into.lastElementChild; p; p = p.previousElementSibling) {
    if (!p.classList.contains("msg")) continue;
    if (+p.dataset.id < id) break;
    next = p;
  }
  into.insertBefore(li, next);
  arrange(li);
  const after = sibling(li, "nextElementSibling");
  if (after) arrange(after);
}

function sibling(li, way) {
  let p = li[way];
  while (p && !p.classList.contains("msg")) p = p[way];
  return p;
}

// arrange sets what depends on the message before: the day's heading (of the
// local zone) and whether a group begins.
export function arrange(li) {
  const prev = sibling(li, "previousElementSibling"), at = new Date(li.dataset.at);
  let head = li.previousElementSibling;
  const mark = head?.id === "new" ? head : null;
  if (mark) head = mark.previousElementSibling;
  if (head?.classList.contains("day")) head.remove();
  const fresh = !prev || dayKey(new Date(prev.dataset.at)) !== dayKey(at);
  if (fresh) {
    li.parentNode.insertBefore(el("li", { className: "day", role: "separator" }, el("time", { dateTime: li.dataset.at, title: whole(at) }, dayName(at))), mark ?? li);
  }
  li.classList.toggle("first", fresh || !!mark || prev.dataset.user !== li.dataset.user || at - new Date(prev.dataset.at) > GROUP_MS || !$(".quote", li).hidden);
}

export function arrangeAll() {
  for (const li of [...list(), ...(notes ? list(notes) : [])]) {
    clock($("time", li));
    arrange(li);
  }
}
