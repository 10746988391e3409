// What pages do beyond links and forms. Everything works without this file; it only keeps pages fresh.
"use strict";

(() => {
  const serverNow = Date.parse(document.documentElement.dataset.now);
  const ahead = Number.isNaN(serverNow) ? 0 : Date.now() - serverNow;
  const now = () => Date.now() - ahead;

  // Moments in words, as runs/pages/spans.py writes them.
  function length(seconds) {
    const whole = Math.floor(seconds);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    const [unit, size, lower, lowerSize] = whole < 86400 ? ["h", 3600, "min", 60] : ["d", 86400, "h", 3600];
    const rest = Math.floor((whole % size) / lowerSize);
    return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${lower}` : ""}`;
  }
  function tick() {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const seconds = (Date.parse(time.dateTime) - now()) / 1000;
      const words = Math.abs(seconds) < 1 ? "just now" : length(Math.abs(seconds));
      const text = words === "just now" ? words : seconds > 0 ? `in ${words}` : `${words} ago`;
      if (time.textContent !== text) time.textContent = text;
    }
    for (const left of document.querySelectorAll("[data-left]")) {
      const seconds = (Date.parse(left.dataset.left) - now()) / 1000;
      const text = seconds >= 1 ? `${length(seconds)} left` : "time is over";
      if (left.textContent !== text) left.textContent = text;
    }
  }
  setInterval(tick, 5000);

  // Buttons that only a script can serve are hidden until here.
  function wake(root) {
    for (const button of root.querySelectorAll("[data-copy], [data-reveal]")) button.hidden = false;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-reveal]");
    if (!button) return;
    if (button.dataset.reveal) {
      const field = document.getElementById(button.dataset.reveal);
      const shown = field.type === "password";
      field.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", String(shown));
      button.textContent = shown ? "Hide" : "Show";
      return;
    }
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  // Typed reasons survive a sign-in that became necessary meanwhile; they go when the decision is made.
  const draft = (field) => `draft:${field.dataset.draft}`;
  function restoreDrafts(root) {
    for (const field of root.querySelectorAll("textarea[data-draft]")) {
      const kept = sessionStorage.getItem(draft(field));
      if (kept && !field.value) field.value = kept;
    }
    for (const done of root.querySelectorAll("[data-decided]")) {
      sessionStorage.removeItem(`draft:${done.dataset.decided}`);
    }
  }
  document.addEventListener("input", (event) => {
    if (event.target.matches("textarea[data-draft]")) {
      sessionStorage.setItem(draft(event.target), event.target.value);
    }
  });
  // Twice pressed is once sent.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // What a choice would do is shown as soon as it is made; without a script there is a button for it.
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-shows]")) event.target.form.requestSubmit();
  });

  // Lists refresh themselves, but never under a pointer or the focus.
  const says = document.querySelector("[data-freshness]");
  function freshness(text) { if (says) says.textContent = text; }
  function inUse(list) { return list.matches(":hover") || list.contains(document.activeElement) || list.querySelector("input:checked") !== null; }
  function refresh() {
    for (const list of document.querySelectorAll("[data-refresh]")) {
      if (document.visibilityState !== "visible") continue;
      if (inUse(list)) { freshness("Not refreshed while you are in the list"); continue; }
      window.htmx?.trigger(list, "refresh");
    }
  }
  const fresh = document.querySelector("[data-refresh]");
  if (fresh) {
    setInterval(refresh, 15000);
    document.addEventListener("visibilitychange", refresh);
    freshness(`${fresh.dataset.refresh} refreshes every 15 s`);
  }
  // What is open already is not fetched again: ticks and typed text would go.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const item = event.target.closest(".item[aria-current]");
    if (!item || !document.getElementById("beside").offsetParent) return;
    event.preventDefault();
    document.querySelector("#beside [tabindex='-1']")?.focus();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const at = new Date().toTimeString().slice(0, 8);
    if (event.detail.successful) freshness(`Refreshed at ${at}`);
    else freshness(`Could not refresh at ${at}; it tries again in 15 s`);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const part = event.detail.target;
    wake(document);
    restoreDrafts(document);
    tick();
    if (part.id !== "beside") return;
    // The list keeps its place; only the mark moves, and the reader goes to what was opened.
    const chosen = document.querySelector("#beside [data-approval]")?.dataset.approval;
    for (const item of document.querySelectorAll(".item")) {
      if (item.dataset.item === chosen) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
    document.querySelector(".wide-page")?.classList.add("has-chosen");
    document.getElementById("beside").scrollTop = 0;
    document.querySelector("#beside [tabindex='-1']")?.focus();
  });

  wake(document);
  restoreDrafts(document);
  tick();
  document.querySelector("[data-focus]")?.focus();
})();
