// The markdown subset of messages, as DOM nodes. It is the same grammar as
// templates/markdown.go, held together by testdata/markdown.json. Text only ever
// enters the page as text nodes; the only attribute made from it is an http(s)
// address.

const URL_SRC = "https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:[/?]CHAR*)?(?:#CHAR*)?".replaceAll("CHAR", () => "(?:[\\p{L}\\p{N}\\p{M}\\-._~:/?@!$&'*+,;=()]|%[0-9A-Fa-f]{2})");
const LABEL = new RegExp("\\[([^\\[\\]`]{1,200})\\]\\((" + URL_SRC + ")\\)", "uy");
const BARE = new RegExp(URL_SRC, "uy");
const ADDRESS = /:\/\/|^[^\p{L}\p{N}]*[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}(?:[^\p{L}\p{N}]|$)/u;
const SPACE = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const PUNCT = /[\p{P}\p{S}]/u;
const ESCAPED = /\\([!-/:-@[-`{-~])/g;

const el = (tag, ...kids) => {
  const e = document.createElement(tag);
  e.append(...kids);
  return e;
};

const unescape = (s) => s.replace(ESCAPED, "$1");

function link(url, label) {
  const href = url.replace(/#$/, "").replace(/[^\0-\x7f]+/g, encodeURIComponent);
  return Object.assign(el("a", label), { href, rel: "nofollow noopener", target: "_blank" });
}

function balanced(url) {
  let depth = 0;
  for (let i = 0; i < url.length; i++) {
    if (url[i] === "(") depth++;
    else if (url[i] === ")" && --depth < 0) return i;
  }
  return url.length;
}

function trimURL(u) {
  for (;;) {
    const c = u.at(-1);
    if (c === undefined) return u;
    const open = u.split("(").length, close = u.split(")").length;
    if (!".,:;!?'*_~#".includes(c) && !(c === ")" && close > open)) return u;
    u = u.slice(0, -1);
  }
}

// match runs a sticky expression at i.
const match = (re, s, i) => { re.lastIndex = i; return re.exec(s); };

const before = (s, i) => i === 0 ? "\n" : /[\udc00-\udfff]/.test(s[i - 1]) && i > 1 ? s.slice(i - 2, i) : s[i - 1];

function delimiter(s, i) {
  let j = i;
  while (s[j] === s[i]) j++;
  const b = before(s, i), a = j < s.length ? String.fromCodePoint(s.codePointAt(j)) : " ";
  const bs = SPACE.test(b), bp = PUNCT.test(b), as = SPACE.test(a), ap = PUNCT.test(a);
  const left = !as && (!ap || bs || bp), right = !bs && (!bp || as || ap), star = s[i] === "*";
  return { ch: s[i], len: j - i, was: j - i, open: left && (star || !right || bp), close: right && (star || !left || ap) };
}

// code reads a code span at i: a node and its end, or the bare backticks.
function code(s, i) {
  let j = i;
  while (s[j] === "`") j++;
  const n = j - i, re = /`+/g;
  re.lastIndex = j;
  for (let m; (m = re.exec(s));) {
    if (m[0].length !== n) continue;
    let body = s.slice(j, m.index);
    if (/[^ \t]/.test(body) && body[0] === " " && body.at(-1) === " ") body = body.slice(1, -1);
    return [el("code", body), re.lastIndex];
  }
  return [s.slice(i, j), j];
}

function tokens(s) {
  const out = [];
  let text = "", i = 0;
  const push = (x, end) => {
    if (text) out.push(unescape(text));
    text = "";
    if (x !== "") out.push(x);
    i = end;
  };
  while (i < s.length) {
    const c = s[i];
    let m;
    if (c === "\\" && /[!-/:-@[-`{-~]/.test(s[i + 1] ?? "")) {
      text += c + s[i + 1];
      i += 2;
    } else if (c === "`") {
      push(...code(s, i));
    } else if (c === "*" || c === "_") {
      const d = delimiter(s, i);
      push(d, i + d.len);
    } else if (c === "[" && (m = match(LABEL, s, i)) && !ADDRESS.test(unescape(m[1]))) {
      const n = balanced(m[2]);
      push(link(m[2].slice(0, n), unescape(m[1])), i + m[1].length + 3 + n + 1);
    } else if (c === "h" && !/[0-9A-Za-z\x80-\uffff]/.test(s[i - 1] ?? "") && (m = match(BARE, s, i)) && /:\/\/./.test(m = trimURL(m[0]))) {
      push(link(m, m), i + m.length);
    } else {
      text += c;
      i++;
    }
  }
  push("", i);
  return out;
}

// consumed is CommonMark's rule of three.
function consumed(o, c) {
  if ((o.close || c.open) && (o.was + c.was) % 3 === 0 && c.was % 3 !== 0) return 0;
  return o.len >= 2 && c.len >= 2 ? 2 : 1;
}

const isDelim = (t) => typeof t === "object" && "was" in t;
const asNode = (t) => isDelim(t) ? t.ch.repeat(t.len) : t;

// line renders one line: the delimiter algorithm of CommonMark, section
// "An algorithm for parsing nested emphasis and links", without links.
function line(s) {
  const list = tokens(s);
  for (let ci = 0; ci < list.length;) {
    const c = list[ci];
    if (!isDelim(c) || !c.close || c.dead) { ci++; continue; }
    let oi = ci - 1, n = 0, maybe = false;
    for (; oi >= 0; oi--) {
      const o = list[oi];
      if (!isDelim(o) || o.dead || !o.open || o.ch !== c.ch) continue;
      maybe = true;
      if ((n = consumed(o, c))) break;
    }
    if (!n) {
      if (!maybe && !c.open) c.dead = true;
      ci++;
      continue;
    }
    const o = list[oi];
    o.len -= n;
    c.len -= n;
    const inner = list.splice(oi + 1, ci - oi - 1).map(asNode);
    list.splice(oi + 1, 0, el(n === 2 ? "strong" : "em", ...inner));
    ci = oi + 2;
    if (o.len === 0) { list.splice(oi, 1); ci--; }
    if (c.len === 0) list.splice(ci, 1);
  }
  return list.map(asNode);
}

// render returns the text of a message as a DocumentFragment.
export function render(src) {
  const out = document.createDocumentFragment();
  const lines = src.split("\n");
  let p = null;
  for (let i = 0; i < lines.length; i++) {
    const l = lines[i].replace(/^[ \t]+|[ \t]+$/g, "");
    if (l === "") {
      p = null;
    } else if (/^```[^`]*$/.test(l)) {
      p = null;
      const from = ++i;
      while (i < lines.length && lines[i].replace(/^[ \t]+|[ \t]+$/g, "") !== "```") i++;
      out.append(el("pre", el("code", lines.slice(from, i).join("\n"))));
    } else {
      if (p) p.append(el("br"));
      else out.append(p = el("p"));
      p.append(...line(l));
    }
  }
  return out;
}
