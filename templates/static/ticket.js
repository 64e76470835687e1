// One ticket, for the desk: two threads, an answer that does not cross another one,
// and who else has it open.

import { duty, follow, refresh } from "./desk.js";
import { apply, arrangeAll, blank, fill, find, insert, list } from "./message.js";
import { $, $$, api, connection, el, page } from "./ui.js";
import { VezeClient, newNonce } from "./veze.js";

const at = `/tickets/${page.ticket}`;
const reply = $("#reply"), box = $("#text"), note = $("#note"), noteBox = $("#note-text"), alert = $("#alert"), collision = $("#collision"), typing = $("#typing");
const client = new VezeClient({ base: page.base, user: page.me });

function complain(text = "") {
  alert.textContent = text;
  alert.hidden = !text;
}

// ---- threads

const panes = { talk: $("#pane-talk"), notes: $("#pane-notes") };
function show(name) {
  for (const [k, pane] of Object.entries(panes)) {
    pane.hidden = k !== name;
    if (k === name) $("#tab-" + k).setAttribute("aria-current", "true");
    else $("#tab-" + k).removeAttribute("aria-current");
  }
}
for (const name of Object.keys(panes)) {
  $("#tab-" + name).addEventListener("click", (e) => {
    e.preventDefault();
    history.replaceState(null, "", page.base + at + (name === "notes" ? "?tab=notes" : ""));
    show(name);
  });
}

const toEnd = (pane) => { $(".scroll", pane).scrollTop = 0; };

client.on("event", (e) => {
  const made = apply(e);
  refresh();
  if (!made) return;
  if (e.room_id === page.notes) $("#notes-count").textContent = list($("#notes")).length;
  if (e.user_id === page.me) toEnd(e.room_id === page.notes ? panes.notes : panes.talk);
  typing.textContent = "";
});
client.on("reset", () => location.reload());
client.on("gone", () => { location.href = page.base + "/inbox"; });

let typed = 0;
client.on("typing", (f) => {
  if (f.room_id !== page.room || f.user_id === page.me) return;
  typing.textContent = f.handle + " is typing…";
  clearTimeout(typed);
  typed = setTimeout(() => { typing.textContent = ""; }, 5000);
});

// ---- the answer

const lastSeq = () => +(list().at(-1)?.dataset.id ?? 0);
const key = (name) => `veze.draft:${page.base}:${page.ticket}:${name}`;
let since = lastSeq(); // the last message when the answer was begun
let nonce = newNonce();

function keep(name, area) {
  try { sessionStorage.setItem(key(name), area.value); } catch { /* not kept */ }
}
for (const [name, area] of [["reply", box], ["note", noteBox]]) {
  if (!area) continue;
  try { area.value ||= sessionStorage.getItem(key(name)) ?? ""; } catch { /* none */ }
  area.addEventListener("input", () => keep(name, area));
  area.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || !(e.ctrlKey || e.metaKey)) return;
    e.preventDefault();
    area.form.requestSubmit();
  });
}

// crossed are the answers of others that came since this one was begun.
const crossed = () => list().filter((li) => +li.dataset.id > since && +li.dataset.user !== page.me && !$(".team", li).hidden);

function warn(n) {
  $("span", collision).textContent = `${n} ${n === 1 ? "message" : "messages"} came while you wrote: read above, then send again.`;
  collision.hidden = false;
  $("#send").textContent = "Send anyway";
  since = lastSeq();
  list().at(-1)?.scrollIntoView({ block: "nearest" });
}

function calm() {
  collision.hidden = true;
  $("#send").textContent = "Send";
}

reply?.addEventListener("submit", async (e) => {
  e.preventDefault();
  const text = box.value.trim();
  if (!text) return;
  const others = crossed();
  if (others.length) return warn(others.length);
  $("#send").disabled = true;
  try {
    await api("POST", at + "/comments", { text, nonce, last_msg_seq: lastSeq() });
    box.value = "";
    keep("reply", box);
    nonce = newNonce();
    complain();
    calm();
    mode();
  } catch (err) {
    const missed = err.data?.messages;
    if (missed) {
      for (const m of missed) if (!find(m.message_id)) insert(fill(blank(), m));
      warn(missed.length);
    } else complain("Not sent: " + err.message);
  } finally {
    $("#send").disabled = false;
    box.focus();
  }
});

let noteNonce = newNonce();
note.addEventListener("submit", async (e) => {
  e.preventDefault();
  const text = noteBox.value.trim();
  if (!text) return;
  try {
    await api("POST", at + "/notes", { text, nonce: noteNonce });
    noteBox.value = "";
    keep("note", noteBox);
    noteNonce = newNonce();
    complain();
  } catch (err) { complain("Not kept: " + err.message); }
  noteBox.focus();
});

// ---- canned replies: the text comes into the box, to be read before it is sent

$("#macros form")?.addEventListener("submit", async (e) => {
  e.preventDefault();
  try {
    const { text } = await api("POST", `${at}/macros/${e.submitter.dataset.macro}`, {});
    if (text) {
      box.value = box.value.trim() ? box.value.trimEnd() + "\n\n" + text : text;
      keep("reply", box);
    }
    $("#macros").open = false;
    complain();
    refresh();
    mode();
    box.focus();
  } catch (err) { complain("The macro did nothing: " + err.message); }
});

// ---- who else is here

let said = "", saidAt = 0;
async function mode() {
  if (document.visibilityState === "hidden") return;
  const now = box?.value.trim() ? "replying" : "viewing";
  if (now === said && Date.now() - saidAt < 10000) return;
  said = now;
  saidAt = Date.now();
  try {
    const { attending } = await api("POST", at + "/attend", { mode: now });
    $("#others").replaceChildren(...(attending ?? []).filter((a) => a.user_id !== page.me)
      .flatMap((a) => [el("span", { className: a.mode }, `${a.handle} ${a.mode === "replying" ? "is replying" : "is looking"}`), " "]));
  } catch { /* it is asked again */ }
}
box?.addEventListener("input", () => {
  if (!said || said === "viewing") since = lastSeq();
  mode();
});
mode();
setInterval(mode, 5000);

document.addEventListener("keydown", (e) => {
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) || e.ctrlKey || e.metaKey || e.altKey) return;
  const keys = { r: () => { show("talk"); box?.focus(); }, n: () => { show("notes"); noteBox.focus(); } };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});

arrangeAll();
connection(client);
duty(client);
client.joinAll([{ room_id: page.room, after: page.head ?? 0, epoch: page.epoch }, { room_id: page.notes, after: page.notes_head ?? 0, epoch: page.epoch }]);
follow(client, [{ ticket_id: page.ticket }, ...(page.duty ? [{ topics: ["desk"] }] : [])]);
client.connect();
