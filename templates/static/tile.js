// The example tile: the hub's state, what is said in its public rooms, and how many are
// there. It reads /ticker with fetch, as EventSource sends no Authorization header.
const $ = (id) => document.getElementById(id);
const tile = $("tile");
const query = new URLSearchParams(location.search);
const hub = new URL(tile.dataset.hub || query.get("hub") || "/", location.href).href.replace(/\/$/, "");
let token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
const shown = 40; // lines that are kept

const rooms = new Map(); // by id: name and how many are here
const recent = []; // when the lines of the last minute came
let cursor = "";

function say(state, text) {
  tile.dataset.state = state;
  $("say").textContent = text;
}

async function ask(path, accept, more) {
  const headers = { Accept: accept, ...more };
  if (token) headers.Authorization = "Bearer " + token;
  const r = await fetch(hub + path, { headers, credentials: token ? "omit" : "include", cache: "no-store" });
  if (!r.ok) {
    const p = await r.json().catch(() => ({}));
    throw Object.assign(new Error(p.detail || r.statusText), { status: r.status });
  }
  return r;
}

async function presentation() {
  const s = await (await ask("/.veze/service.json", "application/json")).json();
  $("name").textContent = s.name;
  $("dot").className = "dot " + s.status;
  $("dot").setAttribute("aria-label", "state " + s.status);
  const path = s.routes[0].path; // with the hub's prefix already
  $("open").href = new URL(path, hub + "/").href;
}

function counts() {
  const past = Date.now() - 60000;
  while (recent.length && recent[0] < past) recent.shift();
  let here = 0;
  for (const r of rooms.values()) here += r.here || 0;
  $("rooms").textContent = rooms.size;
  $("here").textContent = here;
  $("pace").textContent = recent.length;
}

function line(m) {
  let li = $("m" + m.room_id + "-" + m.message_id);
  if (!li) {
    li = document.createElement("li");
    li.id = "m" + m.room_id + "-" + m.message_id;
    $("lines").append(li);
    while ($("lines").children.length > shown) $("lines").firstChild.remove();
  }
  if (m.flags) li.classList.add(...m.flags);
  const who = document.createElement("b"), where = document.createElement("small");
  who.textContent = m.handle;
  where.textContent = " · " + (rooms.get(m.room_id)?.name || "");
  li.replaceChildren(who, where, document.createElement("br"), m.text || "");
  if (!m.text) blank(li);
}

function blank(li) {
  li.className = "gone";
  li.textContent = "a line was taken away";
}

// What is in the hub now: the stream goes on from there.
async function snapshot() {
  const now = await (await ask("/ticker?lines=10", "application/json")).json();
  cursor = now.cursor;
  rooms.clear();
  for (const r of now.rooms) rooms.set(r.room_id, { name: r.name, here: r.here });
  $("lines").replaceChildren();
  now.lines.slice(-shown).forEach(line);
  counts();
}

// One event of the stream; "again" starts over, "over" ends it all.
function take(event, d) {
  switch (event) {
    case "room":
      if (d.reset) return "again";
      rooms.set(d.room_id, { ...rooms.get(d.room_id), name: d.name });
      break;
    case "gone":
      rooms.delete(d.room_id);
      break;
    case "count":
      if (rooms.has(d.room_id)) rooms.get(d.room_id).here = d.here;
      break;
    case "chat.message.created":
      recent.push(Date.now());
      line(d);
      break;
    case "chat.message.edited": {
      const li = $("m" + d.room_id + "-" + d.message_id);
      if (li) li.lastChild.textContent = d.text;
      break;
    }
    case "chat.message.deleted":
    case "chat.message.hidden": {
      const li = $("m" + d.room_id + "-" + d.message_id);
      if (li) blank(li);
      break;
    }
    case "chat.message.restored":
      return "again";
    case "end":
      if (!d.again) return "over";
  }
  counts();
  return "";
}

// Reads the stream to its end (HTML §9.2.6), and returns when to come back.
async function follow() {
  const r = await ask("/ticker", "text/event-stream", { "Last-Event-ID": cursor });
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", wait = 3000, e = {};
  say("live", "");
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return wait;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const l of lines) {
      const at = l.indexOf(":");
      const name = l.slice(0, at), field = l.slice(at + 1).replace(/^ /, "");
      if (l === "") {
        if (e.id !== undefined) cursor = e.id;
        const next = e.data === undefined ? "" : take(e.event, JSON.parse(e.data));
        e = {};
        if (next === "over") throw Object.assign(new Error("the hub asks not to come back"), { status: 403 });
        if (next === "again") {
          await reader.cancel();
          await snapshot();
          return 0;
        }
      } else if (name === "retry") {
        wait = Number(field);
      } else if (name) {
        e[name] = field;
      }
    }
  }
}

async function run() {
  let fresh = true, failed = 0;
  for (;;) {
    let wait = 0;
    try {
      await presentation();
      if (fresh) await snapshot();
      fresh = false;
      wait = await follow();
      failed = 0;
      if (wait) say("away", "the hub is coming back…");
    } catch (err) {
      if (err.status === 401 || err.status === 403) {
        $("key").hidden = false;
        return say("refused", err.message);
      }
      if (err.status === 400) fresh = true; // a cursor of another hub
      wait = Math.random() * Math.min(30000, 500 * 2 ** failed++);
      $("dot").className = "dot red";
      say("away", err.message);
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

$("key").addEventListener("submit", (ev) => {
  ev.preventDefault();
  token = new FormData(ev.target).get("token");
  $("key").hidden = true;
  run();
});
setInterval(counts, 5000);
run();
