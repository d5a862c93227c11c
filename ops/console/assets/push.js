// The push form, and how far what was pushed has come.
import { html, render } from "/dashboard/vendor/lit-html.js";
import { key } from "/dashboard/api.js";
import { count, span, tone } from "/dashboard/format.js";

/** A stream by its name. */
const named = (fleet, name) => fleet.streams.find((stream) => stream.name === name);

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
  for (let index = 1; index < stages.length; index += 1) {
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
    view.dataset.tone = tone(fleet.streams.findIndex((stream) => stream.name === push.stream.name));
    render(push.error
      ? html`<p class="error" role="alert">${push.error}</p>`
      : html`
        <p role="status" aria-live="polite">${push.words}</p>
        <ol>${["pushed", ...push.stream.stages.map(({ stage }) => stage)].map((step, index) => html`<li><label>${step}
          <progress max="1" .value=${push.done[index]} data-step=${step}></progress></label></li>`)}</ol>`, view);
  };

  function follow(seen) {
    fleet = seen;
    render(fleet.streams.map(({ name, many }) => html`<option value=${name}>${many}</option>`), form.elements.stream);
    if (!push || push.over || push.error) return;
    const done = shares(named(fleet, push.stream.name).stages, push.start, push.wanted);
    if (!done) return;
    push.done = done;
    const what = `${count(push.wanted)} ${push.wanted === 1 ? push.stream.one : push.stream.many}`;
    const seconds = (performance.now() - push.began) / 1000;
    push.over = push.answered && done.every((share) => share === 1);
    push.words = push.over ? `${what} in all layers after ${span(seconds)}` : `${what} on their way`;
    show();
  }

  async function send(fields) {
    const stream = named(fleet, fields.get("stream"));
    const body = { N: Number(fields.get("count")), stream: stream.name };
    if (fields.get("rate")) body.rate = Number(fields.get("rate"));
    const headers = { "content-type": "application/json" };
    if (key()) headers.APIKEY = key();
    push = { stream, wanted: body.N, start: stream.stages.map((stage) => stage.end), began: performance.now(),
      done: [0, ...stream.stages.map(() => 0)], words: "sending …", answered: false };
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
    if (!fleet) return;
    const button = form.querySelector("button");
    button.disabled = true;
    await send(new FormData(form));
    button.disabled = false;
  });
  return follow;
}
