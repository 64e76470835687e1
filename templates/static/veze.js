// VezeClient speaks the socket protocol veze.v1 (see docs). It has no
// dependencies and does not touch the page.
//
// Promises: the events of a joined room reach on("event") once each and in
// order, over any number of reconnects, or on("reset") says that the room must
// be loaded again. A text given to send() is sent until the hub took it or
// refused it, always with the same nonce, over reconnects and reloads.
//
//   const c = new VezeClient({ base: "/proxy/chat", user: 981 });
//   c.on("event", (e) => …);
//   c.join(17, { after: 442, epoch: "…" });
//   c.connect();

const EXPIRED = new Set([4003, 4505]); // the session, or that of a page without one
const RETRYABLE = new Set(["unavailable", "rate_limited", "slow_mode", "internal"]);

// closeAction says what a close code means: come back or not, and why not.
export function closeAction(code) {
  switch (code) {
    case 4500: case 4505: return { again: false, why: "Sign in again." };
    case 4501: case 4504: return { again: false, why: "This page is out of date. Reload it." };
    case 4502: return { again: false, why: "You were banned." };
    case 4503: return { again: false, why: "Another window took over." };
    case 1008: return { again: false, why: "The hub refused." };
    case 4007: return { again: true, atLeast: 5000 };
    default: return { again: true };
  }
}

// newNonce returns a fresh nonce: 128 random bits. (crypto.randomUUID is not there
// on pages without TLS.)
export const newNonce = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");

// socketURL is the socket's address behind a path prefix.
export function socketURL(base = "", loc = location) {
  return (loc.protocol === "https:" ? "wss://" : "ws://") + loc.host + base + "/ws";
}

// topicOf names what a selector or a frame is about.
const topicOf = (x) => x.ticket_id ?? x.topic ?? x.topics?.[0];

export class VezeClient {
  #o; #on = new Map(); #rooms = new Map(); #refs = new Map(); #ref = 0;
  #ws = null; #state = "offline"; #want = false; #ready = false; #tries = 0; 
  #timers = {}; #queue = []; #hint = 0; #epoch = ""; #busy = new Set(); #watches = new Map();

  // Options: base, url (of the socket, where the hub is on another site), user (keeps unsent texts apart), token (function, for
  // pages without a cookie), renew (function: the session has ended; false when it
  // cannot go on), storage, min/max backoff ms, pingEvery, pongWait,
  // answerWait ms, maxUnsent.
  constructor(options = {}) {
    this.#o = { base: "", min: 500, max: 20000, pingEvery: 20000, pongWait: 8000, answerWait: 20000, maxUnsent: 100,
      storage: globalThis.sessionStorage, random: Math.random, ...options };
    this.#queue = this.#load();
  }

  // on registers a listener: state, hello, event, joined, reset, gone, presence,
  // typing, unsent, bye, desk, board, watching. It returns a function that removes it.
  on(name, fn) {
    if (!this.#on.has(name)) this.#on.set(name, new Set());
    this.#on.get(name).add(fn);
    return () => this.#on.get(name).delete(fn);
  }

  get state() { return this.#state; }
  cursor(roomID) { return this.#rooms.get(roomID)?.cursor; }
  unsent(roomID) { return this.#queue.filter((q) => roomID === undefined || q.room_id === roomID).map((q) => ({ ...q })); }

  connect() {
    this.#want = true;
    this.#watch("addEventListener"); // twice is once
    this.#open();
  }

  #watch(how) {
    globalThis[how]("online", this.#nudge);
    globalThis[how]("offline", this.#nudge);
    document[how]("visibilitychange", this.#nudge);
  }

  close() {
    this.#want = false;
    this.#watch("removeEventListener");
    this.#drop(1000);
    this.#setState("offline");
  }

  // join hears a room from after on; without after only what comes from now on.
  // It does not rejoin a room that is joined already.
  join(roomID, { after, epoch } = {}) {
    this.joinAll([{ room_id: roomID, after, epoch }]);
  }

  // joinAll joins many rooms in one frame: [{room_id, after, epoch}].
  joinAll(list) {
    const fresh = list.filter((r) => !this.#rooms.has(r.room_id))
      .map(({ room_id: id, after, epoch }) => ({ id, cursor: after, epoch, joined: false, repairs: 0 }));
    for (const r of fresh) this.#rooms.set(r.id, r);
    if (this.#ready) this.#sendJoins(fresh);
  }

  // reload ends a reset: the room was loaded up to head, join again from there.
  reload(roomID, head) {
    const r = this.#rooms.get(roomID);
    if (!r) return;
    Object.assign(r, { cursor: head, epoch: this.#epoch, joined: false, repairs: 0, resetting: false });
    if (this.#ready) this.#sendJoins([r]);
  }

  leave(roomID) {
    this.#rooms.delete(roomID);
    this.#raw({ type: "leave", room_id: roomID });
  }

  // watch hears what happens to tickets and agents, or to one ticket, from now on:
  // on("desk") and on("board"). The selector is that of the protocol: {topics} or
  // {ticket_id}. on("watching") says of each topic with ok whether the hub tells, and
  // else with code why not: after each connection anew, when it has ended, and when
  // something was not told. Each time the page has to be loaded again: what happened
  // in between is not told.
  watch({ topics = [], ticket_id }) {
    for (const w of ticket_id ? [{ ticket_id }] : topics.map((t) => ({ topics: [t] }))) {
      this.#watches.set(topicOf(w), w);
      if (this.#ready) this.#sendWatch(w);
    }
  }

  // #sendWatch asks; what may work later is asked again.
  #sendWatch(w) {
    this.request({ type: "watch", ...w }).then(() => this.#emit("watching", { ...w, ok: true }), (err) => {
      this.#emit("watching", { ...w, ok: false, code: err.code });
      if (!this.#ready || !RETRYABLE.has(err.code)) return; // else with the next connection
      this.#timers["watch" + topicOf(w)] = setTimeout(() => this.#sendWatch(w), this.#later(err));
    });
  }

  // #topic takes a frame about a topic that is not an event of it.
  #topic(f) {
    const w = this.#watches.get(topicOf(f));
    if (!w) return;
    if (f.type === "lag") this.#sendWatch(w); // this socket was too slow, and is not told any more
    else this.#emit("watching", { ...w, ok: f.type === "reset", code: f.code });
  }

  // send queues a text and returns its nonce, or "" when the queue is full.
  send(roomID, text, { reply_to, nonce = newNonce() } = {}) {
    if (this.#queue.length >= this.#o.maxUnsent) return "";
    this.#queue.push({ nonce, room_id: roomID, text, reply_to, at: new Date().toISOString(), state: "sending" });
    this.#changed();
    this.#flush(roomID);
    return nonce;
  }

  retry(nonce) {
    const q = this.#queue.find((x) => x.nonce === nonce);
    if (!q) return;
    q.state = "sending";
    delete q.error;
    this.#changed();
    this.#flush(q.room_id);
  }

  discard(nonce) {
    this.#queue = this.#queue.filter((x) => x.nonce !== nonce);
    this.#changed();
  }

  // request sends a frame and resolves with its ok, or rejects with an Error that
  // has code and retry_after_ms.
  request(frame) {
    return new Promise((resolve, reject) => {
      if (!this.#ready) return reject(fail("unavailable", "not connected"));
      const ref = ++this.#ref;
      const timer = setTimeout(() => this.#answer(ref, null, fail("unavailable", "the hub did not answer")), this.#o.answerWait);
      this.#refs.set(ref, { resolve, reject, timer });
      this.#raw({ ...frame, ref });
    });
  }

  // tell sends a frame that nobody waits for; it is lost when not connected.
  tell(frame) { if (this.#ready) this.#raw(frame); }

  #emit(name, value) {
    for (const fn of this.#on.get(name) ?? []) {
      try { fn(value); } catch (err) { console.error(err); }
    }
  }

  #setState(state, more = {}) {
    this.#state = state;
    this.#emit("state", { state, tries: this.#tries, ...more });
  }

  #raw(frame) {
    if (this.#ws?.readyState === 1) this.#ws.send(JSON.stringify(frame));
  }

  // ---- the connection

  // #drop closes the socket there is, so that two never live side by side.
  #drop(code) {
    for (const k in this.#timers) clearTimeout(this.#timers[k]);
    this.#timers = {};
    const ws = this.#ws;
    this.#ws = null;
    this.#ready = false;
    if (ws) {
      ws.onopen = ws.onmessage = ws.onclose = ws.onerror = null;
      try { ws.close(code); } catch { /* it never opened */ }
    }
    for (const ref of [...this.#refs.keys()]) this.#answer(ref, null, fail("unavailable", "the connection was lost"));
    for (const r of this.#rooms.values()) r.joined = false;
    this.#busy = new Set();
  }

  #open() {
    this.#drop(1000);
    this.#setState(this.#tries ? "reconnecting" : "connecting", { retryIn: 0 });
    let ws;
    try {
      ws = new WebSocket(this.#o.url ?? socketURL(this.#o.base), "veze.v1");
    } catch {
      return this.#lost(1006);
    }
    this.#ws = ws;
    this.#timers.open = setTimeout(() => this.#lost(1006), 15000);
    ws.onopen = () => {
      this.#heard();
      if (this.#o.token) this.#signIn(ws);
    };
    ws.onmessage = (m) => {
      this.#heard();
      let f;
      try { f = JSON.parse(m.data); } catch { return; }
      if (f && typeof f === "object") this.#frame(f);
    };
    ws.onclose = (e) => this.#lost(e.code);
  }

  // #signIn: a token that cannot be had now is asked for again with the next connection.
  async #signIn(ws) {
    let token;
    try { token = await this.#o.token(); } catch { return this.#ws === ws && this.#lost(1006); }
    if (this.#ws === ws) this.#raw({ type: "auth", token });
  }

  #lost(code) {
    const { again, why, atLeast = 0 } = closeAction(code);
    const hint = this.#hint;
    this.#hint = 0;
    this.#drop(1000);
    if (!this.#want) return;
    if (this.#o.renew && EXPIRED.has(code)) return this.#renew(code);
    if (!again) return this.#end(code, why);
    this.#retry(code, hint, atLeast);
  }

  #end(code, why) {
    this.#want = false;
    this.#setState("closed", { code, why });
  }

  // #renew has the session go on before it connects again.
  async #renew(code) {
    this.#setState("reconnecting", { code, retryIn: 0 });
    const on = await Promise.resolve(this.#o.renew()).catch(() => true); // the hub is away, not the session
    if (!this.#want || this.#ws) return;
    if (on === false) this.#end(code, "Sign in again.");
    else this.#retry(code, 0, 0);
  }

  #retry(code, hint, atLeast) {
    const cap = Math.min(this.#o.max, this.#o.min * 2 ** Math.min(this.#tries++, 10));
    const wait = hint || Math.max(atLeast, Math.round(this.#o.random() * cap));
    this.#setState(navigator.onLine === false ? "offline" : "reconnecting", { code, retryIn: wait });
    this.#timers.retry = setTimeout(() => this.#open(), wait);
  }

  // #heard restarts the watchdog: silence is asked about, then ended.
  #heard() {
    clearTimeout(this.#timers.ping);
    clearTimeout(this.#timers.pong);
    this.#timers.ping = setTimeout(() => this.#ask(this.#o.pongWait), this.#o.pingEvery);
  }

  #ask(wait) {
    this.#raw({ type: "ping" });
    clearTimeout(this.#timers.pong);
    this.#timers.pong = setTimeout(() => this.#lost(4002), wait);
  }

  #nudge = () => {
    if (!this.#want || document.visibilityState === "hidden") return;
    if (this.#ready) this.#ask(Math.min(4000, this.#o.pongWait));
    else if (this.#timers.retry) this.#open();
  };

  // ---- frames

  #frame(f) {
    switch (f.type) {
      case "hello": return this.#hello(f);
      case "ok": return this.#ok(f);
      case "error": return this.#error(f);
      case "pong": return;
      case "lag": return f.topic ? this.#topic(f) : this.#repair(this.#rooms.get(f.room_id), true);
      case "reset": case "unwatched": return this.#topic(f);
      case "bye":
        this.#hint = Math.max(1, f.reconnect_after_ms || 0);
        this.#emit("bye", f);
        return;
      case "presence": case "typing": return this.#emit(f.type, f);
      case "ephemeral": return this.#emit("ephemeral", f);
      case "board": return this.#emit("board", f);
      default:
        if (/^(ticket|agent)\./.test(f.type)) this.#emit("desk", f); // some name a room, and are not of its chain
        else if (f.seq && f.room_id) this.#event(f);
    }
  }

  #hello(f) {
    clearTimeout(this.#timers.open);
    this.#ready = true;
    this.#tries = 0;
    this.#epoch = f.epoch;
    this.#setState("online");
    this.#emit("hello", f);
    this.#sendJoins([...this.#rooms.values()]);
    for (const w of this.#watches.values()) this.#sendWatch(w);
    for (const room of new Set(this.#queue.map((q) => q.room_id))) this.#flush(room);
  }

  #sendJoins(rooms) {
    rooms = rooms.filter((r) => r && !r.resetting);
    if (!rooms.length) return;
    if (rooms.length > 200) this.#sendJoins(rooms.splice(200)); // the most of one frame
    const ref = ++this.#ref;
    const one = (r) => {
      Object.assign(r, { joined: false, joinRef: ref });
      return r.cursor === undefined ? { room_id: r.id } : { room_id: r.id, after: r.cursor, epoch: r.epoch || this.#epoch };
    };
    this.#raw(rooms.length === 1 ? { type: "join", ref, ...one(rooms[0]) } : { type: "join", ref, rooms: rooms.map(one) });
  }

  #ok(f) {
    for (const one of f.rooms ?? [f]) {
      const r = this.#rooms.get(one.room_id);
      if (r && !r.joined && "head" in one && (f.ref === undefined || f.ref === r.joinRef)) this.#joined(r, one);
      else if (r && one.code) this.#refused(r, one);
    }
    this.#answer(f.ref, f);
  }

  #joined(r, f) {
    if (f.reset) return this.#reset(r, f.head);
    Object.assign(r, { joined: true, epoch: this.#epoch });
    if (r.cursor === undefined) r.cursor = f.head;
    this.#emit("joined", { room_id: r.id, head: f.head });
  }

  #error(f) {
    if (this.#refs.has(f.ref)) {
      return this.#answer(f.ref, null, fail(f.code, f.message, f.retry_after_ms));
    }
    const asked = [...this.#rooms.values()].filter((r) => !r.joined && r.joinRef === f.ref && f.ref);
    const named = f.room_id ? asked.filter((r) => r.id === f.room_id) : asked;
    if (named.length > 1) for (const r of named) this.#sendJoins([r]); // one of many: ask for each
    else if (named.length === 1) this.#refused(named[0], f);
  }

  // #refused: a join that may work later is asked again, any other ends the room.
  #refused(r, f) {
    if (!RETRYABLE.has(f.code)) {
      this.#rooms.delete(r.id);
      return this.#emit("gone", { room_id: r.id, code: f.code, message: f.message });
    }
    this.#timers["join" + r.id] = setTimeout(() => { if (this.#ready && this.#rooms.get(r.id) === r) this.#sendJoins([r]); }, this.#later(f));
  }

  #later(refusal) { return refusal.retry_after_ms || 1000 + this.#o.random() * 2000; }

  #answer(ref, value, err) {
    const p = this.#refs.get(ref);
    if (!p) return;
    this.#refs.delete(ref);
    clearTimeout(p.timer);
    if (err) p.reject(err); else p.resolve(value);
  }

  // ---- the chain of a room's events

  #event(e) {
    const r = this.#rooms.get(e.room_id);
    if (!r || r.resetting || !r.joined) return;
    if (r.cursor === undefined) r.cursor = e.prev;
    if (e.seq <= r.cursor) return; // came before
    if (e.prev > r.cursor) return this.#repair(r); // one is missing between
    r.cursor = e.seq;
    r.repairs = 0;
    this.#emit("event", e);
  }

  // #repair asks for what is missing; a hub that cannot close the gap in four
  // answers has not got it.
  #repair(r, lagging) {
    if (!r || r.resetting || (!r.joined && !lagging)) return;
    if (!lagging && ++r.repairs > 4) return this.#reset(r);
    this.#sendJoins([r]);
  }

  #reset(r, head) {
    Object.assign(r, { resetting: true, joined: false });
    this.#emit("reset", { room_id: r.id, head });
  }

  // ---- unsent texts: one at a time in each room, so that order holds

  async #flush(roomID) {
    const busy = this.#busy;
    if (busy.has(roomID) || !this.#ready) return;
    const q = this.#queue.find((x) => x.room_id === roomID && x.state === "sending");
    if (!q) return;
    busy.add(roomID);
    // The log forgets nonces after two minutes: then the hub has to look further.
    const retry = q.tried && Date.now() - Date.parse(q.at) > 60000 || undefined;
    q.tried = true;
    let pause = 0;
    try {
      const ok = await this.request({ type: "send", room_id: roomID, text: q.text, nonce: q.nonce, reply_to: q.reply_to, retry });
      this.#queue = this.#queue.filter((x) => x !== q);
      this.#emit("sent", { ...q, message_id: ok.message_id, duplicate: ok.duplicate });
    } catch (err) {
      if (RETRYABLE.has(err.code)) pause = err.retry_after_ms || 1500;
      else Object.assign(q, { state: "failed", error: err.message, code: err.code });
    }
    this.#changed();
    if (busy !== this.#busy) return; // another connection: its hello goes on with it
    const on = () => { busy.delete(roomID); this.#flush(roomID); };
    if (pause) this.#timers["send" + roomID] = setTimeout(on, pause);
    else on();
  }

  get #key() { return `veze.unsent:${this.#o.base}:${this.#o.user ?? ""}`; }

  #load() {
    try { return JSON.parse(this.#o.storage.getItem(this.#key)) ?? []; } catch { return []; }
  }

  #changed() {
    try { this.#o.storage.setItem(this.#key, JSON.stringify(this.#queue)); } catch { /* full or forbidden: memory only */ }
    this.#emit("unsent", this.unsent());
  }
}

function fail(code, message, retry) {
  return Object.assign(new Error(message || code), { code, retry_after_ms: retry });
}
