/* What the pages gain with JavaScript: the reader's own time zone and theme, newer
   changes and keys. */
(() => {
  "use strict";
  const root = document.documentElement;

  const recall = (name) => {
    try { return localStorage.getItem(`audit-${name}`); } catch { return null; }
  };
  const remember = (name, value) => {
    try { localStorage.setItem(`audit-${name}`, value); } catch { /* private browsing */ }
  };

  // The page hands over the texts of its language, where that is not English.
  const texts = JSON.parse(root.dataset.texts ?? "{}");
  const say = (text, value = "") => (texts[text] ?? text).replace("%s", () => value);

  // --- theme: before the first paint, so that nothing flashes ---
  const themes = ["auto", "light", "dark"];
  const setTheme = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  let theme = themes.includes(recall("theme")) ? recall("theme") : "auto";
  setTheme(theme);

  // --- times ---
  const two = (number) => String(number).padStart(2, "0");
  const dateOf = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const timeOf = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const sameDay = (at) => at.getDate() === at.getUTCDate();

  const localText = (element, at) =>
    element.dataset.part === "time" && sameDay(at) ? timeOf(at) : `${dateOf(at)} ${timeOf(at)}`;

  const spans = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const relativeText = (at) => {
    const seconds = (at - Date.now()) / 1000;
    const [unit, size] = spans.find(([, size]) => Math.abs(seconds) >= size) ?? spans[5];
    return new Intl.RelativeTimeFormat(root.lang, { numeric: "auto" }).format(Math.round(seconds / size), unit);
  };

  const zones = ["local", "utc", "relative"];
  const showTimes = (zone) => {
    for (const element of document.querySelectorAll("time[title]")) {
      element.dataset.utc ??= element.textContent;
      const at = new Date(element.dateTime);
      element.textContent = zone === "utc" ? element.dataset.utc
        : zone === "local" ? localText(element, at) : relativeText(at);
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const themeButton = document.querySelector("[data-toggle=theme]");
    const zoneButton = document.querySelector("[data-toggle=zone]");
    let zone = zones.includes(recall("zone")) ? recall("zone") : "local";

    const themeNames = { auto: say("Auto"), light: say("Light"), dark: say("Dark") };
    const nameTheme = () => {
      themeButton.textContent = themeNames[theme];
      themeButton.ariaLabel = themeButton.title = say("Theme: %s", themeNames[theme].toLowerCase());
    };
    const zoneNames = { local: say("Local time"), utc: "UTC", relative: say("Time ago") };
    const nameZone = () => { zoneButton.textContent = zoneNames[zone]; };
    const zoneName = Intl.DateTimeFormat().resolvedOptions().timeZone;

    document.querySelector("[data-zone-note]").hidden = true;
    themeButton.hidden = zoneButton.hidden = false;
    zoneButton.title = say("Switch between %s, UTC and how long ago", zoneName);
    nameTheme();
    nameZone();
    showTimes(zone);

    themeButton.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      remember("theme", theme);
      setTheme(theme);
      nameTheme();
    });
    zoneButton.addEventListener("click", () => {
      zone = zones[(zones.indexOf(zone) + 1) % zones.length];
      remember("zone", zone);
      nameZone();
      showTimes(zone);
    });

    // Filters left empty do not belong in the address.
    document.querySelector("form.filters")?.addEventListener("submit", (event) => {
      for (const field of event.target.elements) field.disabled = field.name && !field.value;
    });
    document.querySelector("form.slider")?.addEventListener("change", (event) => event.currentTarget.submit());
    window.addEventListener("pageshow", () => {
      for (const field of document.querySelectorAll("form.filters :disabled")) field.disabled = false;
    });

    // --- newer changes: asked for every ten seconds while the page is looked at ---
    const live = document.querySelector("a[data-live]");
    let asking = live !== null && recall("live") !== "off";
    const ask = async () => {
      if (!asking || document.hidden) return;
      try {
        const answer = await fetch(live.dataset.live, { headers: { accept: "application/json" } });
        if (!answer.ok) throw new Error(String(answer.status));
        const found = await answer.json();
        const count = found.records.length;
        if (!count) return;
        const text = count === 1 && !found.newer_than ? say("1 newer change: show")
          : say("%s newer changes: show", `${count}${found.newer_than ? "+" : ""}`);
        if (live.textContent !== text) live.textContent = text;
        live.dataset.new = "";
        live.href = location.href;
      } catch {
        live.textContent = say("Newer changes cannot be asked for: try again");
      }
    };
    if (live) setInterval(ask, 10_000);

    // --- keys ---
    const keysButton = document.querySelector("[data-toggle=keys]");
    let keys = recall("keys") !== "off";
    const nameKeys = () => {
      keysButton.textContent = keys ? say("Keys on") : say("Keys off");
      keysButton.title = say("Single-key shortcuts; ? explains them");
    };
    keysButton.hidden = false;
    nameKeys();
    keysButton.addEventListener("click", () => {
      keys = !keys;
      remember("keys", keys ? "on" : "off");
      nameKeys();
    });
    const follow = (selector) => document.querySelector(selector)?.click();
    const step = (by) => {
      const rows = [...document.querySelectorAll(".record .details, .timeline li a")].filter((row) => row.checkVisibility());
      const at = rows.indexOf(document.activeElement);
      rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))]?.focus();
    };
    const version = (by) => {
      const all = [...document.querySelectorAll(".timeline li a")];
      const at = all.findIndex((link) => link.ariaCurrent === "true" || link.hasAttribute("aria-current"));
      all[at + by]?.click();
    };
    const shortcuts = {
      "/": () => document.querySelector("input[type=search]")?.focus(),
      j: () => step(1),
      k: () => step(-1),
      n: () => follow(".neighbours [rel=next], .pager [rel=next]"),
      p: () => follow(".neighbours [rel=prev], .pager [rel=prev]"),
      "[": () => version(1),
      "]": () => version(-1),
      c: () => navigator.clipboard?.writeText(document.activeElement?.href || location.href),
      r: () => { asking = !asking; remember("live", asking ? "on" : "off"); if (asking && live) ask(); },
      t: () => themeButton.click(),
      "?": () => follow("[data-help]"),
    };
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
      if (!keys || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const shortcut = shortcuts[event.key];
      if (!shortcut) return;
      event.preventDefault();
      shortcut();
    });
  });
})();
