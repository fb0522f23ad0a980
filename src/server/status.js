// The status page. Everything that comes from the cluster is set as text, never as markup.
"use strict";
(() => {
  const PERIOD = 5000;
  const SLOWEST = 60000;
  const SHOWN = 300;
  const byId = (id) => document.getElementById(id);
  let last = null;
  let problems = [];
  const opened = new Set();

  function element(tag, className, text) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined && text !== null) e.textContent = String(text);
    return e;
  }

  function age(from, to) {
    const s = Math.max(0, Math.round((Date.parse(to) - Date.parse(from)) / 1000));
    if (!Number.isFinite(s)) return "";
    if (s < 120) return s + " s";
    if (s < 7200) return Math.floor(s / 60) + " min";
    if (s < 172800) return Math.floor(s / 3600) + " h";
    return Math.floor(s / 86400) + " d";
  }

  function severity(of) {
    return ["critical", "warning", "info"].includes(of.severity) ? of.severity : "info";
  }

  function where(f) {
    const parts = [];
    if (f.namespace) parts.push(f.namespace);
    if (f.workload && f.workload.kind !== "Pod") parts.push(f.workload.kind + "/" + f.workload.name);
    if (f.pod) parts.push(f.pod);
    if (f.container) parts.push(f.container);
    if (!parts.length && f.node) parts.push("node " + f.node);
    return parts.join(" › ");
  }

  function entry(list, term, values, code) {
    if (!values.length) return;
    list.append(element("dt", "", term));
    for (const value of values) {
      const dd = element("dd");
      dd.append(element(code ? "code" : "span", "", value));
      list.append(dd);
    }
  }

  // Puts these into a list. What has not changed stays where it is, and with it the reader's focus and selection.
  function show(list, items, make) {
    const before = new Map([...list.children].map((e) => [e.madeOf, e]));
    const now = items.map((item) => {
      const madeOf = JSON.stringify(item);
      const kept = before.get(madeOf);
      before.delete(madeOf);
      return kept || Object.assign(make(item), { madeOf });
    });
    const focused = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    for (const gone of before.values()) gone.remove();
    now.forEach((e, i) => {
      if (list.children[i] !== e) list.insertBefore(e, list.children[i] || null);
    });
    if (focused && !list.contains(document.activeElement)) {
      const again = now.find((e) => e.dataset.id === focused);
      if (again) again.querySelector("summary").focus({ preventScroll: true });
    }
  }

  function card(f) {
    const li = element("li", severity(f) + (f.muted ? " muted" : ""));
    li.dataset.id = f.id;
    const top = element("div", "top");
    top.append(element("span", "reason", f.reason), element("span", "severity", f.severity), element("span", "where", where(f)));
    for (const [name, value] of Object.entries(f.labels || {})) top.append(element("span", "label", name + ": " + value));
    if (f.muted) top.append(element("span", "label", "muted until " + f.muted.until + (f.muted.reason ? ": " + f.muted.reason : "")));
    if (f.since) {
      const since = element("span", "age");
      since.dataset.since = f.since;
      since.title = "since " + f.since;
      top.append(since);
    }
    li.append(top, element("p", "summary", f.summary));
    if (f.cause && f.cause.text) li.append(element("p", "cause", f.cause.code + ": " + f.cause.text));
    const details = element("details");
    details.open = opened.has(f.id);
    details.addEventListener("toggle", () => (details.open ? opened.add(f.id) : opened.delete(f.id)));
    details.append(element("summary", "", "Evidence and next steps"));
    const list = element("dl");
    entry(list, "Evidence", (f.evidence || []).map((e) => e.source + (e.at ? " at " + e.at : "") + ": " + e.text));
    entry(list, "Next steps", f.nextSteps || [], true);
    const facts = [];
    if (f.node) facts.push("node " + f.node);
    if (f.restartCount !== undefined) facts.push("restarts " + f.restartCount);
    if (f.exitCode !== undefined) facts.push("last exit code " + f.exitCode);
    facts.push("confidence " + f.confidence, "incident " + f.id);
    entry(list, "Facts", [facts.join(", ")]);
    details.append(list);
    li.append(details);
    return li;
  }

  function problemCard(p) {
    const li = element("li", severity(p));
    const top = element("div", "top");
    const count = (n, word) => n + " " + word + (n === 1 ? "" : "s");
    const reach = [count(p.reach.pods, "pod"), count(p.reach.workloads, "workload"), count(p.reach.nodes, "node")];
    top.append(element("span", "reason", p.cause.code), element("span", "severity", p.severity), element("span", "where", p.scope.kind + " " + p.scope.name));
    top.append(element("span", "age", reach.join(", ")));
    li.append(top, element("p", "summary", p.cause.text));
    return li;
  }

  function resolvedLine(r) {
    const li = element("li");
    li.append(element("span", "ending", r.ending), document.createTextNode(" " + r.reason + " · " + where(r)));
    li.append(element("div", "quiet", r.text + " (" + r.resolvedAt + ")"));
    return li;
  }

  function draw() {
    if (!last) return;
    const counts = { critical: 0, warning: 0, info: 0 };
    for (const f of last.items) counts[severity(f)] += 1;
    for (const name of Object.keys(counts)) byId("count-" + name).textContent = counts[name] + (last.total > last.items.length ? "+" : "");
    byId("count-pods").textContent = last.trackedPods;
    byId("open-total").textContent = "(" + last.total + ")";
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = last.items.filter((f) => {
      const text = (where(f) + " " + f.reason + " " + f.cause.code + " " + f.node + " " + Object.values(f.labels || {}).join(" ") + (f.muted ? " muted" : "")).toLowerCase();
      return words.every((w) => text.includes(w));
    });
    show(byId("incidents"), matching.slice(0, SHOWN), card);
    for (const e of document.querySelectorAll("[data-since]")) {
      const text = age(e.dataset.since, last.observedAt);
      if (e.textContent !== text) e.textContent = text;
    }
    byId("cluster").textContent = last.cluster || "";
    const others = last.others ? "; " + last.others + " watch the rest. The whole: kubehealer diagnose -A" : "";
    byId("share").textContent = "Only a part is shown here: pods with " + last.scope + others;
    byId("share").hidden = !last.scope;
    byId("none").hidden = last.total > 0 || Boolean(last.notReady);
    const hidden = last.total - Math.min(matching.length, SHOWN);
    byId("more").hidden = hidden <= 0;
    byId("more").textContent = hidden + " more are not shown here: use the filter, or api/v1/incidents?namespace=NAME&limit=5000";
    show(byId("resolved"), last.resolved || [], resolvedLine);
    byId("resolved-section").hidden = !(last.resolved || []).length;
    show(byId("problems"), problems.slice(0, 20), problemCard);
    byId("problems-section").hidden = !problems.length;
    document.title = (last.total ? "(" + last.total + ") " : "") + "KubeHealer" + (last.cluster ? " " + last.cluster : "");
  }

  function say(text, bad) {
    const state = byId("state");
    if (state.textContent !== text) state.textContent = text;
    state.className = bad ? "bad" : "";
  }

  // What has not changed since it was last asked for is not sent again.
  const seen = new Map();
  async function list(path) {
    const before = seen.get(path);
    const response = await fetch(path, before ? { headers: { "If-None-Match": before.tag } } : {});
    if (response.status === 304) return { ...before.list, observedAt: new Date(response.headers.get("date")).toISOString() };
    if (!response.ok) throw new Error("HTTP " + response.status);
    const list = await response.json();
    seen.set(path, { tag: response.headers.get("etag"), list });
    return list;
  }

  // A page that nobody looks at asks for nothing, and one that is not answered asks less and less often.
  let pause = PERIOD;
  async function load() {
    if (!document.hidden) {
      try {
        last = await list("api/v1/incidents?limit=" + SHOWN);
        problems = (await list("api/v1/problems?limit=20")).items;
        say(last.notReady ? "Not up to date: " + last.notReady : "As of " + last.observedAt.slice(0, 19).replace("T", " ") + " UTC", Boolean(last.notReady));
        draw();
        pause = PERIOD;
      } catch (error) {
        say("KubeHealer does not answer (" + error.message + "); what is shown may be old.", true);
        pause = Math.min(pause * 2, SLOWEST);
      }
    }
    setTimeout(load, pause);
  }

  byId("filter").addEventListener("input", draw);
  load();
})();
