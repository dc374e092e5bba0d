/* What the pages gain with JavaScript: the reader's own time zone and choice of theme. */
(() => {
  "use strict";
  const root = document.documentElement;

  const recall = (name) => {
    try { return localStorage.getItem(`audit-${name}`); } catch { return null; }
  };
  const remember = (name, value) => {
    try { localStorage.setItem(`audit-${name}`, value); } catch { /* private browsing */ }
  };

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

  const showTimes = (local) => {
    for (const element of document.querySelectorAll("time[title]")) {
      element.dataset.utc ??= element.textContent;
      const at = new Date(element.dateTime);
      element.textContent = local ? localText(element, at) : element.dataset.utc;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const themeButton = document.querySelector("[data-toggle=theme]");
    const zoneButton = document.querySelector("[data-toggle=zone]");
    let local = recall("zone") !== "utc";

    const nameTheme = () => {
      themeButton.textContent = theme[0].toUpperCase() + theme.slice(1);
      themeButton.ariaLabel = themeButton.title = `Theme: ${theme}`;
    };
    const nameZone = () => { zoneButton.textContent = local ? "Local time" : "UTC"; };
    const zoneName = Intl.DateTimeFormat().resolvedOptions().timeZone;

    document.querySelector("[data-zone-note]").hidden = true;
    themeButton.hidden = zoneButton.hidden = false;
    zoneButton.title = `Switch between UTC and ${zoneName}`;
    nameTheme();
    nameZone();
    showTimes(local);

    themeButton.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      remember("theme", theme);
      setTheme(theme);
      nameTheme();
    });
    zoneButton.addEventListener("click", () => {
      local = !local;
      remember("zone", local ? "local" : "utc");
      nameZone();
      showTimes(local);
    });

    // Filters left empty do not belong in the address.
    document.querySelector("form.filters")?.addEventListener("submit", (event) => {
      for (const field of event.target.elements) field.disabled = field.name && !field.value;
    });
    document.querySelector("form.slider")?.addEventListener("change", (event) => event.currentTarget.submit());
    window.addEventListener("pageshow", () => {
      for (const field of document.querySelectorAll("form.filters :disabled")) field.disabled = false;
    });
  });
})();
