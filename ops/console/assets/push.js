// The push form, and how far what was pushed has come.
import { html, render } from "/dashboard/vendor/lit-html.js";
import { key } from "/dashboard/api.js";
import { STREAMS, count, span } from "/dashboard/format.js";

const STEPS = ["pushed", "stg", "dds", "cdm"];

/** Where the stages of a stream stand. */
const positions = (fleet, stream) => fleet?.streams.find((s) => s.name === stream)?.stages ?? [];

/**
 * Shares of a push, from 0 to 1: in Kafka, then applied by each stage. What a stage passes on may be fewer records
 * than it read, so a later stage is measured by what reached it, within what the stage before has done.
 */
export function shares(stages, start, wanted) {
  if (stages.some((stage, index) => stage.end === null || stage.applied === null || start[index] === null)) return null;
  const within = (share) => Math.max(0, Math.min(1, share));
  const sent = within((stages[0].end - start[0]) / wanted);
  let before = within((stages[0].applied - start[0]) / wanted);
  const done = [sent, before];
  for (const index of [1, 2]) {
    const arrived = stages[index].end - start[index];
    const applied = stages[index].applied - start[index];
    before *= arrived > 0 ? within(applied / arrived) : Number(before === 1);
    done.push(before);
  }
  return done;
}

/** Wires the form up; the result is called with every look at the fleet. */
export function pushing(form, view) {
  let fleet = null;
  let push = null;

  const show = () => {
    if (!push) return;
    view.dataset.stream = push.stream;
    render(push.error
      ? html`<p class="error" role="alert">${push.error}</p>`
      : html`
        <p role="status" aria-live="polite">${push.words}</p>
        <ol>${STEPS.map((step, index) => html`<li><label>${step}
          <progress max="1" .value=${push.done[index]} data-step=${step}></progress></label></li>`)}</ol>`, view);
  };

  function follow(seen) {
    fleet = seen;
    if (!push || push.over || push.error) return;
    const done = shares(positions(fleet, push.stream), push.start, push.wanted);
    if (!done) return;
    push.done = done;
    const what = `${count(push.wanted)} ${STREAMS[push.stream]}`;
    const seconds = (performance.now() - push.began) / 1000;
    push.over = push.answered && done.every((share) => share === 1);
    push.words = push.over ? `${what} in all layers after ${span(seconds)}` : `${what} on their way`;
    show();
  }

  async function send(fields) {
    const stream = fields.get("stream");
    const body = { N: Number(fields.get("count")), stream };
    if (fields.get("rate")) body.rate = Number(fields.get("rate"));
    const headers = { "content-type": "application/json" };
    if (key()) headers.APIKEY = key();
    push = { stream, wanted: body.N, start: positions(fleet, stream).map((stage) => stage.end), began: performance.now(),
      done: [0, 0, 0, 0], words: "sending …", answered: false };
    show();
    const mine = push;
    try {
      const answer = await fetch("/dashboard/push", { method: "POST", headers, body: JSON.stringify(body) });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) mine.error = said.error ?? said.message ?? `data-source answered ${answer.status}`;
    } catch {
      mine.error = "the console does not answer";
    }
    mine.answered = true;
    show();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    await send(new FormData(form));
    button.disabled = false;
  });
  return follow;
}
