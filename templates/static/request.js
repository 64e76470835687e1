// A ticket as its requester sees it, live: the conversation, and how long it takes.

import { compose, landed, settle, waiting } from "./composer.js";
import { follow, refresh } from "./desk.js";
import { apply, arrangeAll, list } from "./message.js";
import { $, connection, page } from "./ui.js";
import { VezeClient } from "./veze.js";

const scroll = $("#scroll"), typing = $("#typing");
const client = new VezeClient({ base: page.base, user: page.me });
const toEnd = () => { scroll.scrollTop = 0; };

let marked = 0, readTimer = 0;
function read() {
  if (readTimer) return;
  readTimer = setTimeout(() => {
    readTimer = 0;
    const upto = client.cursor(page.room) ?? 0;
    if (document.visibilityState !== "visible" || upto <= marked) return;
    marked = upto;
    client.tell({ type: "read", room_id: page.room, upto });
  }, 800);
}
document.addEventListener("visibilitychange", read);

client.on("event", (e) => {
  if (e.type === "chat.message.created") landed(e);
  if (e.type === "room.updated" && e.locked) return void location.reload(); // the ticket is closed
  if (!apply(e)) return;
  typing.textContent = "";
  if (e.user_id === page.me) toEnd();
  waiting(client);
  refresh();
  read();
});
client.on("joined", ({ head }) => { settle(client, Math.min(head, client.cursor(page.room))); read(); });
client.on("reset", () => location.reload());
client.on("gone", () => location.reload());

let typed = 0;
client.on("typing", (f) => {
  if (f.room_id !== page.room || f.user_id === page.me) return;
  typing.textContent = f.handle + " is typing…";
  clearTimeout(typed);
  typed = setTimeout(() => { typing.textContent = ""; }, 5000);
});

// While somebody waits, their place is asked for; where nobody is at the desk, whether
// somebody has come: of that the hub tells nothing.
const PLACE = 10000, DESK = 30000; // ms between two questions
let last = performance.now();
setInterval(() => {
  const is = $("#where").classList, every = is.contains("waiting") ? PLACE : is.contains("empty") ? DESK : Infinity;
  if (performance.now() - last < every) return;
  last = performance.now();
  refresh();
}, 2000);

arrangeAll();
connection(client);
compose(client, toEnd);
client.join(page.room, { after: page.head ?? 0, epoch: page.epoch });
follow(client, [{ ticket_id: page.ticket }]);
client.connect();
if (list().length) toEnd();
