// Theme, tooltips, and the values of curves. The page is complete without it.
"use strict";
const root = document.documentElement;
root.classList.remove("no-js");

const themeButton = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

function showTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  document.dispatchEvent(new Event("theme"));
}
if (["#dark", "#light"].includes(location.hash)) root.dataset.theme = location.hash.slice(1);
themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
prefersDark.addEventListener("change", showTheme);
showTheme();

const tip = document.getElementById("tip");

function showTip(lines, x, y) {
  tip.replaceChildren(...lines.map((line) => {
    const row = document.createElement("div");
    if (line.colour) {
      const key = document.createElement("i");
      key.className = `key c${line.colour}`;
      row.append(key);
    }
    row.append(line.text);
    return row;
  }));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, x + 14), innerWidth - box.width - 8);
  const top = y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18;
  tip.style.transform = `translate(${left}px, ${Math.max(8, top)}px)`;
}
const hideTip = () => { tip.hidden = true; };

document.addEventListener("pointerover", (event) => {
  const holder = event.target.closest?.("[data-tip]");
  if (holder) showTip([{ text: holder.dataset.tip }], event.clientX, event.clientY);
  else if (!event.target.closest?.(".curves, canvas")) hideTip();
});
document.addEventListener("scroll", hideTip, { passive: true });

const shortNumber = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4)));

function nearest(places, x) {
  let best = 0;
  for (let i = 1; i < places.length; i++) if (Math.abs(places[i] - x) < Math.abs(places[best] - x)) best = i;
  return best;
}

for (const chart of document.querySelectorAll("svg.curves")) {
  const data = JSON.parse(chart.dataset.curves);
  const cursor = chart.querySelector(".cursor");
  const [left, , width] = data.plot;
  let place = left + width;

  const show = () => {
    const box = chart.getBoundingClientRect();
    const scale = box.width / chart.viewBox.baseVal.width;
    const lead = data.lines.reduce((a, b) => {
      const [da, db] = [a, b].map((line) => Math.abs(line.px[nearest(line.px, place)] - place));
      return db < da ? b : a;
    });
    const at = nearest(lead.px, place);
    cursor.setAttribute("x1", lead.px[at]);
    cursor.setAttribute("x2", lead.px[at]);
    cursor.style.opacity = 1;
    const rows = data.lines.map((line) => {
      const i = nearest(line.px, lead.px[at]);
      return { colour: line.colour, text: `${line.name} ${shortNumber(line.y[i])}` };
    });
    showTip([{ text: `${data.x} ${shortNumber(Math.round(lead.x[at]))}` }, ...rows],
      box.left + lead.px[at] * scale, box.top + box.height / 3);
  };
  const hide = () => { cursor.style.opacity = 0; hideTip(); };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    place = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
    show();
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -width / 40, ArrowRight: width / 40 }[event.key];
    if (!step) return;
    event.preventDefault();
    place = Math.min(left + width, Math.max(left, place + step));
    show();
  });
}
