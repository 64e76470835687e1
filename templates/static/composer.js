// The composer: what is typed, what it answers, and the texts not yet sent.

import { blank, fill, find, source } from "./message.js";
import { $, $$, el, page } from "./ui.js";

const form = $("#composer"), box = $("#text"), left = $("#left"), replyTo = $("#reply-to"), chip = $("#chip"), outbox = $("#outbox"), alert = $("#alert");
const length = (s) => [...s].length;

const tooLong = (text) => length(text) > page.max_text && `A message has at most ${page.max_text} characters, this one has ${length(text)}.`;

// refuse says why a text is not sent; without a reason it takes that back.
function refuse(why) {
  alert.textContent = why || "";
  alert.hidden = !why;
}

export function reply(li) {
  if (!form) return;
  replyTo.value = li.dataset.id;
  $("#chip-who").textContent = $(".who", li).textContent;
  chip.hidden = false;
  box.focus();
}

export function unreply() {
  const had = !chip.hidden;
  replyTo.value = "";
  chip.hidden = true;
  return had;
}

export const focus = () => box?.focus();

function grow(area) {
  area.classList.add("measure");
  const h = area.scrollHeight;
  area.classList.remove("measure");
  area.rows = Math.max(1, Math.min(8, Math.floor(h / (parseFloat(getComputedStyle(area).lineHeight) || 22))));
}

function count() {
  const n = page.max_text - length(box.value.trim());
  left.textContent = n <= 200 ? String(n) : "";
  left.classList.toggle("over", n < 0);
  return n;
}

// compose wires the form to the client.
export function compose(client, sent) {
  if (!form) return;
  const draft = `veze.draft:${page.base}:${page.room}`;
  const keep = () => { try { sessionStorage.setItem(draft, box.value); } catch { /* not kept */ } };
  try { box.value ||= sessionStorage.getItem(draft) ?? ""; } catch { /* none */ }
  box.removeAttribute("maxlength"); // it counts UTF-16 and cuts pasted text; the counter tells
  box.removeAttribute("required");
  let typed = 0;
  grow(box);
  count();
  box.addEventListener("input", () => {
    grow(box);
    if (count() >= 0 && /^A message has/.test(alert.textContent)) refuse();
    keep();
    if (box.value && Date.now() - typed > 3000) {
      typed = Date.now();
      client.tell({ type: "typing", room_id: page.room });
    }
  });
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    const text = box.value.trim();
    if (!text) return;
    refuse(tooLong(text));
    if (count() < 0) return;
    if (!client.send(page.room, text, { reply_to: +replyTo.value || undefined })) return void (left.textContent = "Queue is full");
    box.value = "";
    typed = 0;
    keep();
    unreply();
    grow(box);
    count();
    sent();
  });
  box.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      form.requestSubmit();
    }
  });
  $("#chip-x").addEventListener("click", (e) => { e.preventDefault(); unreply(); box.focus(); });
  client.on("unsent", () => waiting(client));
  client.on("sent", (q) => { if (q.message_id > client.cursor(page.room)) landing.set(q.nonce, q); waiting(client); });
  waiting(client);
}

// landing are texts that the hub took and whose event has not come yet: they stay
// on the screen until it does.
const landing = new Map();

export function landed(e) {
  landing.delete(e.nonce);
  for (const [nonce, q] of landing) if (q.message_id <= e.seq) landing.delete(nonce);
}

export function settle(client, head) {
  for (const [nonce, q] of landing) if (q.message_id <= head) landing.delete(nonce);
  waiting(client);
}

export function waiting(client) {
  const all = [...landing.values(), ...client.unsent(page.room)];
  const old = new Map($$(":scope > li", outbox).map((li) => [li.dataset.nonce, li]));
  for (const q of all) {
    const li = old.get(q.nonce) ?? draw(client, q);
    old.delete(q.nonce);
    const failed = q.state === "failed";
    li.classList.toggle("failed", failed);
    $(".outstate > span", li).textContent = failed ? "Not sent: " + (q.error || q.code) + " " : "sending…";
    for (const b of $$(".outstate button", li)) b.hidden = !failed;
    outbox.append(li);
  }
  for (const li of old.values()) li.remove();
}

function draw(client, q) {
  const li = fill(blank(), { user_id: page.me, handle: page.handle, text: q.text, at: q.at, reply_to: q.reply_to });
  li.removeAttribute("id");
  li.classList.add("pending");
  li.dataset.nonce = q.nonce;
  $(".tools", li).remove();
  const button = (label, onclick) => el("button", { type: "button", onclick }, label);
  $(".body", li).append(el("p", { className: "outstate" }, el("span"),
    button("Try again", () => client.retry(q.nonce)), " ", button("Discard", () => client.discard(q.nonce))));
  return li;
}

// edit opens a message for editing in its place.
export async function edit(li, client) {
  if (!li?.classList.contains("mine") || li.classList.contains("gone") || $(".editor", li)) return;
  const area = el("textarea", { className: "editor", ariaLabel: "Edit message", value: await source(li).catch(() => "") });
  const note = el("small", {}, "Enter saves, Esc cancels"), body = $(".text", li);
  body.hidden = true;
  body.after(area, note);
  grow(area);
  area.focus();
  const done = () => { area.remove(); note.remove(); body.hidden = false; find(li.dataset.id)?.focus(); };
  area.addEventListener("input", () => grow(area));
  area.addEventListener("keydown", async (e) => {
    e.stopPropagation();
    if (e.key === "Escape") return done();
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    const text = area.value.trim();
    if (!text) return;
    if (tooLong(text)) return void (note.textContent = tooLong(text));
    try {
      await client.request({ type: "edit", room_id: page.room, message_id: +li.dataset.id, text });
      done();
    } catch (err) {
      note.textContent = "Not saved: " + err.message;
    }
  });
}
