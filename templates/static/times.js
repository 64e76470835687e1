// Times on all pages: the server writes them in UTC and says so, here they become
// those of the browser's zone.

document.documentElement.classList.add("js");

const fmt = (o) => new Intl.DateTimeFormat(undefined, o);
const full = fmt({ dateStyle: "full", timeStyle: "long" });
const short = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
const thisYear = fmt(short), otherYear = fmt({ ...short, year: "numeric" });

// whole is a time with its day and zone, for a title.
export const whole = (d) => full.format(d);

// local writes times in the local zone. What a time says may be another's to write
// (data-as): then it gets its title alone.
export function local(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const d = new Date(time.dateTime);
    if (isNaN(d)) continue;
    time.title = whole(d);
    if (!time.dataset.as) time.textContent = (d.getFullYear() === new Date().getFullYear() ? thisYear : otherYear).format(d);
  }
  // A field of a form that failed: what was typed, in UTC, is there again.
  for (const field of root.querySelectorAll("input[data-utc]")) {
    const d = new Date(field.dataset.utc);
    field.defaultValue = "";
    field.value = new Date(d - d.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  }
}
local();

// A time that is typed is of the local zone, too; the hub takes UTC.
document.addEventListener("submit", (e) => {
  for (const field of e.target.querySelectorAll("input[type=datetime-local]")) {
    if (!field.value) continue;
    const utc = new Date(field.value).toISOString();
    field.type = "hidden";
    field.value = utc;
  }
});
