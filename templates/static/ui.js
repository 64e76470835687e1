// What the pages with a script of their own share: the page's data, requests, hours
// and days, the connection's state.

import { whole } from "./times.js";

export const $ = (sel, root = document) => root.querySelector(sel);
export const $$ = (sel, root = document) => [...root.querySelectorAll(sel)];
export const el = (tag, props, ...kids) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...kids);
  return e;
};
export const page = JSON.parse($("#page")?.textContent || "{}");

// renew has the session go on, once for all who ask at the same time: false when it
// cannot, an Error when there is no telling.
let renewing;
export function renew() {
  renewing ??= fetch(page.base + "/auth/refresh", {
    method: "POST", credentials: "same-origin", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000),
  }).then((res) => {
    if (!res.ok && (res.status >= 500 || res.status === 429)) throw new Error(res.statusText);
    return res.ok;
  }).finally(() => { renewing = undefined; });
  return renewing;
}

// api calls the hub's REST interface; a refusal is an Error with code, status and
// what else the hub says.
export async function api(method, path, body, again = true) {
  const res = await fetch(page.base + path, {
    method,
    credentials: "same-origin",
    headers: { Accept: "application/json", "X-CSRF-Token": $('meta[name="csrf"]').content, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(15000),
  });
  if (res.status === 401 && again && await renew().catch(() => false)) return api(method, path, body, false);
  const data = await res.json().catch(() => ({}));
  if (!res.ok) throw Object.assign(new Error(data.detail || data.title || res.statusText), { code: data.code, status: res.status, data });
  return data;
}

const fmt = (o) => new Intl.DateTimeFormat(undefined, o);
const hm = fmt({ hour: "2-digit", minute: "2-digit" });
const long = fmt({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const rel = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

export const dayKey = (d) => d.getFullYear() * 400 + d.getMonth() * 31 + d.getDate();

export function dayName(d) {
  const diff = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(d).setHours(0, 0, 0, 0)) / 864e5);
  return diff === 0 ? "Today" : diff === 1 ? "Yesterday" : long.format(d);
}

// clock writes a <time>'s hour in the local zone.
export function clock(time) {
  const d = new Date(time.dateTime);
  time.textContent = hm.format(d);
  time.title = whole(d);
}

export function ago(time) {
  const d = new Date(time.dateTime), s = (Date.now() - d) / 1000;
  time.title = whole(d);
  const [n, unit] = s < 3600 ? [60, "minute"] : s < 86400 ? [3600, "hour"] : [86400, "day"];
  time.textContent = s < 60 ? "just now" : rel.format(-Math.floor(s / n), unit);
}

// connection shows a client's state in the header, and counts down to the next
// attempt; screen readers hear changes of state, not the counting.
export function connection(client) {
  const box = $("#conn"), text = $("span", box);
  box.hidden = false;
  let timer = 0;
  client.on("state", ({ state, retryIn, why, tries }) => {
    clearInterval(timer);
    box.dataset.state = state;
    const until = Date.now() + (retryIn || 0);
    const show = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      text.textContent = state === "closed" ? why : state === "reconnecting" && left > 0 ? `reconnecting in ${left} s` : state === "online" ? "connected" : state;
    };
    box.setAttribute("aria-live", "polite");
    show();
    if (state === "reconnecting" && retryIn > 1000) {
      timer = setInterval(() => { box.setAttribute("aria-live", "off"); show(); }, 500);
    }
    // A session that ended looks like a hub that is away: ask once.
    if (tries === 3) api("GET", page.ticket ? `/tickets/${page.ticket}` : "/unread").catch((err) => {
      if (err.status !== 401) return;
      client.close();
      box.dataset.state = "closed";
      text.textContent = "Sign in again";
    });
  });
}
