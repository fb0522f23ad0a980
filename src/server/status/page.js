// Keeps the status page up to date. The server renders it, with and without this; what comes from there replaces what has changed.
"use strict";
(() => {
  const SOONEST = 2000; // ms between two looks, unless the server asks for more
  const WITHOUT_EVENTS = 15000;
  const WITH_EVENTS = 30000;
  const PATIENCE = 10000; // ms: a network that swallows everything reports no error
  const TYPING = 50;
  const CHATTER = 15000; // ms between two announcements
  const byId = (id) => document.getElementById(id);
  const form = byId("filter");
  document.documentElement.classList.add("scripted");

  // Makes `now` what `next` is and leaves alone what is the same already: focus, selection, scroll and open details stay.
  function morph(now, next) {
    if (now.isEqualNode(next)) return;
    if (now.nodeType !== Node.ELEMENT_NODE || now.nodeName !== next.nodeName || now.id !== next.id) {
      now.replaceWith(next);
      return;
    }
    if (now.matches("input, select")) return;
    for (const { name } of [...now.attributes]) {
      if (name !== "open" && !next.hasAttribute(name)) now.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    const wanted = new Set([...next.children].map((e) => e.id));
    const known = new Map();
    for (const e of [...now.children]) {
      if (!e.id) continue;
      if (wanted.has(e.id)) known.set(e.id, e);
      else e.remove();
    }
    let at = now.firstChild;
    for (const child of [...next.childNodes]) {
      // A field that is moved loses the focus: what is not wanted goes instead.
      while (at && child.id && known.has(child.id) && at !== known.get(child.id) && !at.id) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      const same = child.id ? known.get(child.id) : at && !at.id && at.nodeName === child.nodeName ? at : null;
      if (!same) now.insertBefore(child, at);
      else if (same === at) at = at.nextSibling;
      else now.insertBefore(same, at);
      if (same) morph(same, child);
    }
    while (at) {
      const rest = at.nextSibling;
      at.remove();
      at = rest;
    }
  }

  // What a screen reader hears of changes: the newest state, now and then.
  let said = 0;
  let open = byId("main").dataset.open;
  function announce(next) {
    if (next === open || next === undefined || Date.now() < said + CHATTER) return;
    open = next;
    say(next + " open incidents");
  }
  function say(text) {
    said = Date.now();
    byId("say").textContent = text;
  }

  const STALE = "(stale) ";
  let live = "Live";
  let answered = new Date();
  function fresh() {
    answered = new Date();
    const state = byId("fresh");
    if (state.classList.contains("stale")) say("up to date again");
    state.classList.remove("stale");
    // What KubeHealer shows may itself be old: its note says since when.
    const late = byId("notes").querySelector(".bad");
    state.classList.toggle("late", Boolean(late));
    live = late ? "Not up to date" : "Live";
    state.textContent = live;
    document.title = document.title.replace(STALE, "");
  }
  // Paper is not live.
  function label(text) {
    const state = byId("fresh");
    if (!state.classList.contains("stale")) state.textContent = text;
  }
  addEventListener("beforeprint", () => label("As of " + answered.toISOString().slice(0, 19).replace("T", " ") + " UTC"));
  addEventListener("afterprint", () => label(live));
  function stale(why) {
    const state = byId("fresh");
    const text = "Stale since " + answered.toISOString().slice(11, 19) + " UTC: " + why;
    if (!state.classList.contains("stale")) say(text);
    state.classList.add("stale");
    state.textContent = text;
    if (!document.title.startsWith(STALE)) document.title = STALE + document.title;
  }

  let tag = null;
  let shown = location.href;
  let turn = 0;
  let period = SOONEST;
  async function load(url) {
    const mine = ++turn;
    try {
      const headers = tag && url === shown ? { "If-None-Match": tag } : {};
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(PATIENCE) });
      if (mine !== turn) return;
      period = 1000 * response.headers.get("x-refresh-after") || SOONEST;
      if (response.status !== 304) {
        // An incident that is not known any more has its page too.
        if (response.status === 503) throw new Error("KubeHealer is busy");
        if (!(response.headers.get("content-type") || "").startsWith("text/html")) {
          throw new Error("KubeHealer answers with HTTP " + response.status);
        }
        const next = new DOMParser().parseFromString(await response.text(), "text/html");
        if (mine !== turn) return;
        const focused = document.activeElement;
        for (const id of ["about", "notes", "main"]) morph(byId(id), next.getElementById(id));
        // A row that has moved has lost the focus. A link that was made again is found by where it leads.
        if (focused !== document.activeElement) {
          const again = focused.isConnected ? focused : byId(focused.id) || [...document.links].find((link) => link.href === focused.href);
          again?.focus({ preventScroll: true });
        }
        document.title = next.title;
        announce(byId("main").dataset.open);
        tag = response.headers.get("etag");
        shown = url;
      }
      fresh();
    } catch (error) {
      if (mine !== turn) return;
      const silent = error instanceof TypeError || error.name === "TimeoutError";
      stale(silent ? "KubeHealer does not answer" : error.message);
      look();
    }
  }

  // A page that nobody looks at asks for nothing. Those that are looked at ask at the same moments, by the clock, so that they share
  // an answer; the longer one takes, the less often.
  let timer = null;
  function look(every = period) {
    if (timer || document.hidden) return;
    timer = setTimeout(() => {
      timer = null;
      load(location.href);
    }, every - (Date.now() % every));
  }
  // A stream that breaks off may be all that tells that the daemon is gone. Once the page is stale, it is asked for as usual.
  function broken() {
    if (byId("fresh").classList.contains("stale")) return;
    clearTimeout(timer);
    timer = null;
    look(SOONEST);
  }
  let events = null;
  function listen() {
    events?.close();
    events = document.hidden ? null : new EventSource(document.body.dataset.root + "api/v1/events");
    events?.addEventListener("change", () => look());
    events?.addEventListener("error", broken);
  }
  function wait() {
    const period = events?.readyState === EventSource.OPEN ? WITH_EVENTS : WITHOUT_EVENTS;
    setTimeout(() => {
      if (events?.readyState === EventSource.CLOSED) listen();
      look();
      wait();
    }, period - (Date.now() % period));
  }
  document.addEventListener("visibilitychange", () => {
    listen();
    look();
  });

  // What is filtered and open stands in the address.
  function filtered() {
    const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()));
    const text = wanted.toString();
    return location.pathname + (text ? "?" + text : "");
  }
  async function take(url, y) {
    if (form) {
      const given = new URL(url, location.href).searchParams;
      for (const field of form.elements) {
        if (field.name) field.value = given.get(field.name) || "";
        if (field.selectedIndex < 0) field.selectedIndex = 0;
      }
    }
    await load(new URL(url, location.href).href);
    // A browser that goes back scrolls before the old list is there.
    if (y !== undefined) scrollTo(0, y);
  }
  let typed = null;
  function type(delay) {
    clearTimeout(typed);
    typed = setTimeout(() => {
      history.replaceState(null, "", filtered());
      load(location.href);
    }, delay);
  }
  // Words are looked for while they are typed, a value of a field when it is a whole one.
  form?.addEventListener("input", ({ target }) => {
    const known = target.list && [...target.list.options].some((option) => option.value === target.value);
    if (target.name === "q" || known || !target.value) type(TYPING);
  });
  form?.addEventListener("change", () => type(0));
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    type(0);
  });
  addEventListener("popstate", ({ state }) => take(location.href, state?.y));

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Only pages of https and localhost may write to the clipboard: this takes what is selected.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    say("Copied");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.does === "copy") copy(button);
    if (button?.dataset.does === "keys") byId("keys").showModal();
    if (button?.dataset.does === "close") byId("keys").close();
    const link = event.target.closest("a[data-stays]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    history.replaceState({ y: scrollY }, "");
    history.pushState(null, "", link.href.split("#")[0]);
    take(location.href);
  });

  function step(by) {
    const rows = [...document.querySelectorAll("a[data-row]")];
    const at = rows.indexOf(document.activeElement);
    const to = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
    rows[to]?.focus();
    rows[to]?.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const does = {
      "/": () => form?.elements.q.focus(),
      j: () => step(1),
      k: () => step(-1),
      "?": () => byId("keys").showModal(),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });

  fresh();
  listen();
  wait();
})();
