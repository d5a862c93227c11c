// Points that move along the pipes, as many as the real rate says; none for those who want no motion.

const TRAVEL_SECONDS = 1.3;
const MOST_A_SECOND = 70;

/** Points a second for events a second: every one of a few, ever fewer of many. */
const points = (perSecond) => Math.min(MOST_A_SECOND, perSecond < 2 ? perSecond : 2 * Math.pow(perSecond / 2, 0.42));

/** Starts the animation over `root`; it rests while nothing moves or nobody looks. */
export function animate(canvas, root) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const context = canvas.getContext("2d");
  let hops = [];
  let running = false;
  let last = 0;

  function measure() {
    const frame = canvas.getBoundingClientRect();
    const scale = devicePixelRatio || 1;
    canvas.width = frame.width * scale;
    canvas.height = frame.height * scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const known = new Map(hops.map((hop) => [hop.name, hop]));
    hops = [...root.querySelectorAll(".hop")].map((element) => {
      const box = element.querySelector(".track").getBoundingClientRect();
      const name = element.dataset.hop;
      const colour = getComputedStyle(element).getPropertyValue("--tone");
      return { ...known.get(name), name, element, colour, x: box.x - frame.x, y: box.y - frame.y, width: box.width,
        height: box.height, moving: known.get(name)?.moving ?? [], due: known.get(name)?.due ?? 0 };
    });
  }

  function step(now) {
    const seconds = Math.min(0.1, (now - last) / 1000);
    last = now;
    context.clearRect(0, 0, canvas.width, canvas.height);
    let busy = false;
    for (const hop of hops) {
      hop.due += points(hop.element.flowing ?? 0) * seconds;
      for (; hop.due >= 1; hop.due -= 1) {
        hop.moving.push({ at: -Math.random() * seconds, side: Math.random(), size: 1.4 + Math.random() * 1.3 });
      }
      hop.moving = hop.moving.filter((point) => (point.at += seconds / TRAVEL_SECONDS) < 1);
      busy ||= hop.moving.length > 0 || hop.element.flowing > 0;
      draw(hop);
    }
    running = busy && !still.matches && !document.hidden;
    if (running) requestAnimationFrame(step);
    else context.clearRect(0, 0, canvas.width, canvas.height);
  }

  function draw(hop) {
    const along = hop.width > hop.height;
    context.fillStyle = hop.colour;
    for (const { at, side, size } of hop.moving) {
      if (at < 0) continue;
      const across = 1.5 + side * ((along ? hop.height : hop.width) - 3);
      const x = hop.x + (along ? at * hop.width : across);
      const y = hop.y + (along ? across : at * hop.height);
      context.globalAlpha = Math.min(1, 8 * at, 8 * (1 - at));
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  new ResizeObserver(measure).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", measure);

  /** Called after each rendering: the pipes may be new, or flow again. */
  return () => {
    if (hops.length === 0 || hops.some((hop) => !hop.element.isConnected)) measure();
    if (running || still.matches || document.hidden || !hops.some((hop) => hop.element.flowing > 0)) return;
    running = true;
    last = performance.now();
    requestAnimationFrame(step);
  };
}
