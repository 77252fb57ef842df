// What pages do besides being read. Everything works without it, only not by itself: it asks for the page anew when an
// event says that something changed, keeps ages true, copies commands, and makes lists usable by keyboard.
"use strict";

const LOOK_AGAIN_MS = 700; // Between two looks at the page, however many events come.
const RECONNECT_MS = 2000;
const GRACE_MS = 1500; // Between the loss of a connection and the word that the page may be old.

// What a page says that may be old.
const STALE = {
  lost: "Not connected. What you see may be old; it is asked for again.",
  held: "There is something newer. It is shown when you let go of what you selected, or write in.",
  over: "Not live any more. What you see may be old; it is asked for again.",
};

const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Live: events only say that something changed; what is shown then is what the server shows.
const live = {
  source: null, wasLost: false, isHeld: false, timer: null, lookedAt: 0, isLooking: false, isWanted: false,

  // Nobody looks at a hidden page: it lets its connection go, of which a browser has few, and asks anew when it is seen.
  start() {
    const path = document.body.dataset.live;
    if (!path || !window.EventSource || document.hidden || this.source) return;
    this.source = new EventSource(path);
    this.source.onopen = () => { if (this.wasLost) this.want(); this.wasLost = false; this.tell(null); };
    this.source.onerror = () => {
      this.wasLost = true;
      // A stream also ends with what it is of: then the page, which is asked for at once, says so.
      setTimeout(() => { if (this.wasLost && document.body.dataset.live) this.tell("lost"); }, GRACE_MS);
      // A browser gives up where the answer is no stream: that of a proxy in front of a server that restarts, or of a
      // server that does not know the session any more. The page itself is answered with what can be done then.
      if (this.source?.readyState === EventSource.CLOSED) {
        this.stop();
        this.tell("over");
        this.want();
        setTimeout(() => this.start(), RECONNECT_MS);
      }
    };
    for (const name of ["execution", "log", "journal", "removed", "reset", "message"]) {
      this.source.addEventListener(name, () => this.want());
    }
  },

  stop() {
    this.source?.close();
    this.source = null;
  },

  seen() {
    if (!document.body.dataset.live) return;
    if (document.hidden) return this.stop();
    this.want();
    this.start();
  },

  // What is wrong with what is shown; null where nothing is.
  tell(word) {
    const stale = $("#stale");
    if (word) stale.textContent = STALE[word];
    stale.hidden = !word;
  },

  want() {
    this.isWanted = true;
    if (this.timer || this.isLooking) return;
    const wait = Math.max(0, this.lookedAt + LOOK_AGAIN_MS - Date.now());
    this.timer = setTimeout(() => { this.timer = null; this.look(); }, wait);
  },

  async look() {
    this.isWanted = false;
    this.isLooking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign(answer.url);
      if (!answer.ok) throw new Error(answer.statusText);
      exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      this.tell(this.wasLost ? "lost" : this.isHeld ? "held" : null);
    } catch {
      this.tell("lost");
      setTimeout(() => this.want(), RECONNECT_MS);
    } finally {
      this.isLooking = false;
      this.lookedAt = Date.now();
      if (this.isWanted) this.want();
    }
  },
};

// What the server said last of each part of the page that is live: what the reader's browser made of it since, such as
// ages, buttons and what was opened, is no difference.
const said = new Map();
const sayingOf = (part) => {
  const copy = part.cloneNode(true);
  all(".age", copy).forEach((one) => { one.textContent = ""; });
  return copy.innerHTML;
};
all("[data-region]").forEach((part) => said.set(part.id, sayingOf(part)));

// A part that somebody types in, or has selected a text of, waits until they let go of it.
function isInUse(part) {
  const selection = getSelection();
  return (selection && !selection.isCollapsed && selection.containsNode(part, true))
    || (part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"));
}

for (const event of ["selectionchange", "focusout"]) {
  document.addEventListener(event, () => {
    if (live.isHeld && !all("[data-region]").some(isInUse)) {
      live.isHeld = false;
      live.want();
    }
  });
}

// What tells one thing to open from the others of a part, wherever it stands: what it stands in, its name, and which of
// those with that name it is.
function opened(part) {
  const seen = new Map();
  return all("details", part).map((one) => {
    const place = one.closest("[id]")?.id + "|" + (one.parentElement.firstChild?.textContent ?? "").trim()
      + "|" + ($("summary", one)?.textContent ?? "").trim();
    const count = (seen.get(place) ?? 0) + 1;
    seen.set(place, count);
    return [`${place}|${count}`, one];
  });
}

// Exchanges the parts of the page that are marked as live, where the server says something else of them than before.
// What the reader opened stays open, what has the focus keeps it.
function exchange(fresh) {
  live.isHeld = false;
  // What has ended has no more events.
  if (!fresh.body.dataset.live) {
    delete document.body.dataset.live;
    live.stop();
    live.wasLost = false;
  }
  for (const part of all("[data-region]")) {
    const other = fresh.getElementById(part.id);
    if (!other) continue;
    const saying = sayingOf(other);
    if (said.get(part.id) === saying) continue;
    if (isInUse(part)) {
      live.isHeld = true;
      continue;
    }
    said.set(part.id, saying);
    const open = new Map(opened(part).map(([place, one]) => [place, one.open]));
    const places = all(".scroll", part).map((one) => [one.scrollLeft, isAtEnd(one) ? Infinity : one.scrollTop]);
    const focus = part.contains(document.activeElement) ? address(document.activeElement) : null;
    part.replaceChildren(...other.childNodes);
    opened(part).forEach(([place, one]) => { if (open.has(place)) one.open = open.get(place); });
    all(".scroll", part).forEach((one, index) => {
      const [left, top] = places[index] ?? [0, 0];
      one.scrollLeft = left;
      one.scrollTop = Math.min(top, one.scrollHeight);
    });
    if (focus) all("a, button, [tabindex]", part).find((one) => address(one) === focus)?.focus({ preventScroll: true });
    prepare(part);
  }
}

// Who reads the newest lines goes on reading them.
const isAtEnd = (element) => element.matches(".log") && element.scrollHeight - element.clientHeight - element.scrollTop < 8;

const address = (element) => element.getAttribute("href") || element.textContent;

// Ages.
function age(at, now) {
  const seconds = Math.floor(Math.abs(now - at) / 1000);
  const isPast = at <= now;
  if (seconds === 0) return isPast ? "just now" : "in a moment";
  const [count, unit] = seconds < 60 ? [seconds, "s"] : seconds < 3600 ? [Math.floor(seconds / 60), "min"]
    : seconds < 172800 ? [Math.floor(seconds / 3600), "h"] : [Math.floor(seconds / 86400), "days"];
  return isPast ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}

function tellAges() {
  const now = Date.now();
  for (const time of all("time[datetime]")) {
    const shown = $(".age", time);
    const text = age(Date.parse(time.dateTime), now);
    if (shown && shown.textContent !== text) shown.textContent = text;
  }
}

// A button beside each command.
function prepare(part) {
  tellHere(part);
  for (const command of all("[data-copy]", part)) {
    if ($(".copy", command)) continue;
    const text = command.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        // No clipboard without HTTPS: mark the text, for the reader's own keys.
        getSelection().selectAllChildren(command);
        button.textContent = "Marked";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    command.append(button);
  }
}

// Keys: j and k go through rows, Enter opens one; keys of links and fields stand beside them.
function pick(step) {
  const rows = all("tr[data-row]");
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  next.tabIndex = -1;
  ($("a", next) ?? next).focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "j" || event.key === "k") return pick(event.key === "j" ? 1 : -1);
  const wanted = all("[data-key]").find((one) => one.dataset.key === event.key);
  // A list that is read onwards has no link to the page before.
  if (!wanted && event.key === "p" && /[?&](cursor|after)=/.test(location.search)) return history.back();
  if (!wanted) return;
  event.preventDefault();
  if (wanted.matches("input, textarea, select")) wanted.focus();
  else wanted.click();
});

// Times on the reader's own clocks, beside those of a zone.
const HERE = {
  weekday: "short", year: "numeric", month: "short", day: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
};

function tellHere(part) {
  for (const column of all("[data-here]", part)) {
    const at = $("time[datetime]", column.parentElement);
    if (at) column.textContent = new Date(at.dateTime).toLocaleString([], HERE);
    column.hidden = false;
  }
}

// What a form means, told while it is filled in: the page for that says it, and the part is taken from there.
for (const form of all("form[data-preview]")) {
  let timer = null;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const names = ["rule", "expression", "time_zone", "from", "missed", "missed_window", "overlap"];
      const query = new URLSearchParams([...new FormData(form)].filter(([name]) => names.includes(name)));
      const answer = await fetch(`${form.dataset.preview}?${query}`).catch(() => null);
      if (!answer?.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("preview");
      if (!fresh) return;
      $("#preview").replaceChildren(...fresh.childNodes);
      prepare($("#preview"));
    }, 250);
  });
}

// Suggestions are for the last term of a filter: what stands before it stays.
for (const list of all("[data-terms]")) {
  const terms = all("option", list).map((option) => option.value);
  const field = $(`[list="${list.id}"]`);
  field?.addEventListener("input", () => {
    const before = field.value.replace(/[^ ]*$/, "");
    all("option", list).forEach((option, index) => { option.value = before + terms[index]; });
  });
}

// A menu that fills a narrow page begins closed; beside a wide one it is open.
const narrow = matchMedia("(max-width: 52rem)");
const fitMenu = () => $(".menu")?.toggleAttribute("open", !narrow.matches);
narrow.addEventListener("change", fitMenu);
fitMenu();

// What was done is told once: an address that is kept, sent or loaded again does not say it once more.
const here = new URL(location.href);
if (here.searchParams.has("done")) {
  here.searchParams.delete("done");
  history.replaceState(history.state, "", here);
}

prepare(document);
all(".log").forEach((log) => { log.scrollTop = log.scrollHeight; });
tellAges();
setInterval(tellAges, 1000);
live.start();
document.addEventListener("visibilitychange", () => live.seen());
