// Points that move along the pipes, as many as the real rate says; none for those who want no motion.

const TRAVEL_SECONDS = 1.3;
const MOST_A_SECOND = 70;

/** Points a second for events a second: every one of a few, ever fewer of many. */
const points = (perSecond) => Math.min(MOST_A_SECOND, perSecond < 2 ? perSecond : 2 * Math.pow(perSecond / 2, 0.42));

/** Starts the animation over `root`; it rests while nothing moves or nobody looks. */
export function animate(canvas, root) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const context = canvas.getContext("2d");
  let lanes = [];
  let running = false;
  let last = 0;

  function measure() {
    const frame = canvas.getBoundingClientRect();
    const scale = devicePixelRatio || 1;
    canvas.width = frame.width * scale;
    canvas.height = frame.height * scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const known = new Map(lanes.map((lane) => [lane.name, lane]));
    lanes = [...root.querySelectorAll(".lane")].map((element) => {
      const box = element.querySelector(".track").getBoundingClientRect();
      const name = element.dataset.lane;
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
    for (const lane of lanes) {
      lane.due += points(lane.element.flowing ?? 0) * seconds;
      for (; lane.due >= 1; lane.due -= 1) {
        lane.moving.push({ at: -Math.random() * seconds, side: Math.random(), size: 1.4 + Math.random() * 1.3 });
      }
      lane.moving = lane.moving.filter((point) => (point.at += seconds / TRAVEL_SECONDS) < 1);
      busy ||= lane.moving.length > 0 || lane.element.flowing > 0;
      draw(lane);
    }
    running = busy && !still.matches && !document.hidden;
    if (running) requestAnimationFrame(step);
    else context.clearRect(0, 0, canvas.width, canvas.height);
  }

  function draw(lane) {
    const along = lane.width > lane.height;
    context.fillStyle = lane.colour;
    for (const { at, side, size } of lane.moving) {
      if (at < 0) continue;
      const across = 1.5 + side * ((along ? lane.height : lane.width) - 3);
      const x = lane.x + (along ? at * lane.width : across);
      const y = lane.y + (along ? across : at * lane.height);
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
    if (lanes.length === 0 || lanes.some((lane) => !lane.element.isConnected)) measure();
    if (running || still.matches || document.hidden || !lanes.some((lane) => lane.element.flowing > 0)) return;
    running = true;
    last = performance.now();
    requestAnimationFrame(step);
  };
}
