// The list of rooms: unread counts, live.

import { $, $$, ago, connection, el, page, renew } from "./ui.js";
import { VezeClient } from "./veze.js";

const MOST = 100;
const counts = new Map((page.rooms ?? []).map((r) => [r.id, r.unread]));
const card = (id) => $(`.card[data-room="${id}"]`);

const label = (n) => n >= MOST ? MOST - 1 + "+" : n;

function show(id) {
  const n = counts.get(id), li = card(id);
  if (!li) return;
  li.classList.toggle("unread", n > 0);
  $(".badge", li).hidden = !n;
  $(".badge span", li).textContent = label(n);
}

function title() {
  const all = [...counts.values()].reduce((a, b) => a + b, 0);
  document.title = (all ? `(${label(all)}) ` : "") + "Rooms · VEZEChat";
}

function touch(id, at) {
  const small = $("small", card(id));
  let time = $("time", small);
  if (!time) {
    time = el("time");
    small.append(" · ", time);
  }
  time.dateTime = at;
  ago(time);
}

const times = () => $$(".card time").forEach(ago);
times();
setInterval(times, 30000);
title();

if (page.me) {
  const client = new VezeClient({ base: page.base, user: page.me, renew });
  connection(client);
  client.on("event", (e) => {
    if (!card(e.room_id)) return;
    if (/member.(left|kicked)/.test(e.type)) { if (e.user_id === page.me) card(e.room_id).remove(); return; }
    if (e.type !== "chat.message.created") return;
    touch(e.room_id, e.at);
    if (e.user_id === page.me) return;
    counts.set(e.room_id, Math.min(MOST, (counts.get(e.room_id) ?? 0) + 1));
    show(e.room_id);
    title();
  });
  client.on("reset", () => setTimeout(() => location.reload(), 1000 + Math.random() * 4000));
  client.on("gone", ({ room_id }) => card(room_id)?.remove());
  client.joinAll((page.rooms ?? []).map((r) => ({ room_id: r.id, after: r.head, epoch: page.epoch })));
  client.connect();
} else $("#conn").hidden = true;

// Coming back by the browser's history: the counts of then are old.
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
