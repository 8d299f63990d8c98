// Says what stands at the place that is pointed at, or that the arrow keys have reached. The page is complete without it.
(() => {
  "use strict";
  const WORDS = ["not sent", "delivered", "neither acknowledged nor received", "refused", "delivered out of order",
    "received more than once", "late", "altered or never sent", "lost"];
  const readout = document.getElementById("readout");

  const list = (lane, name) => (lane.dataset[name] ? lane.dataset[name].split(",") : []);

  // The place of a strip that x (0 to 1000) is in or behind, as words.
  const messages = (lane, x) => {
    const places = (lane.dataset.places || "").split(";").filter(Boolean).map((place) => place.split(","));
    const [at, first, last, all] = places.filter(([at]) => Number(at) <= x + 0.06).pop() || [];
    if (at === undefined || x - at > Math.max(12, 1000 / lane.parentElement.dataset.seconds)) return "no message is intended here";
    const counts = all.split("+").map((count) => {
      const [many, mark] = count.split("*");
      return first === last ? WORDS[mark] : `${many} ${WORDS[mark]}`;
    });
    const which = first === last ? `message ${first}` : `messages ${first} to ${last}`;
    return `${which}: ${counts.join(", ")}`;
  };

  const say = (lanes, lane, second) => {
    const { seconds, wide } = lanes.dataset;
    const column = Math.floor(second / wide);
    const parts = [`${lane.dataset.name} at ${second} s`];
    for (const name of ["intended", "acknowledged", "received", "outstanding"]) {
      const value = list(lane, name)[column];
      if (value !== undefined) parts.push(name === "outstanding" ? `${value} acknowledged and not received` : `${name} ${value}/s`);
    }
    for (const [name, words] of [["cached", "cache depth"], ["memory", "MiB of memory:"]]) {
      const sample = list(lane, name).map((sample) => sample.split(":")).filter(([at]) => Number(at) <= second + 1).pop();
      if (sample) parts.push(`${words} ${sample[1]}`);
    }
    if (lane.dataset.places !== undefined) parts.push(messages(lane, (second * 1000) / seconds));
    readout.textContent = parts.join(" · ");
    readout.hidden = false;
    for (const cursor of lanes.querySelectorAll(".cursor")) cursor.style.left = `${(second * 100) / seconds}%`;
    for (const other of lanes.querySelectorAll(".lane")) other.classList.toggle("chosen", other === lane);
  };

  const hush = (lanes) => {
    readout.hidden = true;
    for (const cursor of lanes.querySelectorAll(".cursor")) cursor.style.left = "-9999px";
    for (const lane of lanes.querySelectorAll(".lane")) lane.classList.remove("chosen");
  };

  for (const lanes of document.querySelectorAll(".lanes")) {
    const charts = [...lanes.querySelectorAll(".lane[data-name]")];
    const last = Number(lanes.dataset.seconds);
    let chosen = 0;
    let second = 0;
    lanes.tabIndex = 0;
    lanes.setAttribute("aria-label", `${lanes.getAttribute("aria-label")}: left and right for the second, up and down for the lane`);
    for (const lane of lanes.querySelectorAll(".lane.load, .lane.depth, .lane.memory[data-name]")) {
      const cursor = document.createElement("div");
      cursor.className = "cursor";
      cursor.style.left = "-9999px";
      lane.querySelector(".plot").append(cursor);
    }
    lanes.addEventListener("keydown", (event) => {
      if (event.target !== lanes) return;
      const far = event.shiftKey ? 10 : 1;
      const keys = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-last, 0], End: [last, 0] };
      const move = keys[event.key];
      if (event.key === "Escape") hush(lanes);
      if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      second = Math.min(Math.max(Math.round(second) + move[0], 0), last - 1);
      chosen = Math.min(Math.max(chosen + move[1], 0), charts.length - 1);
      say(lanes, charts[chosen], second);
    });
    lanes.addEventListener("blur", () => hush(lanes));
    for (const [index, lane] of charts.entries()) {
      const plot = lane.querySelector(".plot");
      plot.addEventListener("pointermove", (event) => {
        const box = plot.getBoundingClientRect();
        chosen = index;
        second = Math.min(Math.max(((event.clientX - box.left) / box.width) * last, 0), last - 0.1);
        second = Math.round(second * 10) / 10;
        say(lanes, lane, second);
      });
      plot.addEventListener("pointerleave", () => hush(lanes));
    }
  }

  const text = document.getElementById("text");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(text);
    // Also from a file, where the clipboard's newer interface may not be had.
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it now";
  });
  text.before(button);
})();
