// The inbox, live.

import { duty, follow, refresh } from "./desk.js";
import { $, $$, connection, page } from "./ui.js";
import { VezeClient } from "./veze.js";

const rows = $("#rows"), all = $("#all"), fresh = $("#fresh"), bulk = $("#bulk");
const boxes = () => $$("[name=ids]", rows);

// ---- choosing

function chosen() {
  const list = boxes(), n = list.filter((b) => b.checked).length;
  all.checked = n > 0 && n === list.length;
  all.indeterminate = n > 0 && n < list.length;
  $("#chosen").textContent = n ? n + " chosen" : "Choose all";
  bulk.classList.toggle("some", n > 0);
}
all.addEventListener("change", () => { for (const b of boxes()) b.checked = all.checked; chosen(); });
rows.addEventListener("change", chosen);
bulk.addEventListener("submit", (e) => {
  if (boxes().some((b) => b.checked)) return;
  e.preventDefault();
  $("#chosen").textContent = "Choose tickets first";
});
chosen();

// ---- what is new: rows do not move under a hand

rows.addEventListener("stale", () => { fresh.hidden = false; });
rows.addEventListener("taken", () => { fresh.hidden = true; chosen(); });
fresh.addEventListener("click", () => {
  for (const b of boxes()) b.checked = false;
  chosen();
  refresh();
});
rows.addEventListener("pointerleave", () => { if (!fresh.hidden) refresh(); });

// ---- keys: j and k walk, x chooses, / searches

document.addEventListener("keydown", (e) => {
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) && document.activeElement.type !== "checkbox" || e.ctrlKey || e.metaKey || e.altKey) return;
  const links = $$(".row > a", rows), row = document.activeElement.closest(".row"), i = links.indexOf(row && $("a", row));
  const go = (n) => links[Math.max(0, Math.min(links.length - 1, n))]?.focus();
  const keys = { j: () => go(i + 1), k: () => go(i - 1), "/": () => $("[name=q]").focus(), x: () => row && $("[name=ids]", row).click() };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});

const client = new VezeClient({ base: page.base, user: page.me });
connection(client);
duty(client);
follow(client, [{ topics: ["desk"] }, { topics: ["board"] }], 20000); // who looks at what is told by no event
client.connect();
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
