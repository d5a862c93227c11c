// The four services and the pipes between them.
import { html } from "/dashboard/vendor/lit-html.js";
import { count, rate, span, tone } from "/dashboard/format.js";

/** A share of the busiest a pipe is drawn for, from 0 to 1: each tenfold shows. */
export const busyness = (perSecond) => Math.min(1, Math.log10(1 + (perSecond ?? 0)) / 4);

/** The streams in their order, each with its colour and with its stage of this name, if it passes one. */
const passing = (fleet, service) => fleet.streams.map((stream, index) => (
  { stream, tone: tone(index), stage: stream.stages.find((stage) => stage.stage === service.name) }));

/** The whole picture: service, pipe, service, … */
export function flow(fleet) {
  return fleet.services.map((service, index) => html`
    ${index ? pipe(fleet, service) : ""}
    ${node(fleet, service, index === 0)}`);
}

function node(fleet, service, first) {
  return html`
    <article class="node" data-state=${service.state} data-service=${service.name}>
      <h3>${service.name} <span class="state" data-state=${service.state}>${service.state}</span></h3>
      ${passing(fleet, service).map((one) => (first ? source(one) : one.stage ? gauge(one) : html`<div class="gauge"></div>`))}
      ${service.detail ? html`<p class="problem">${service.detail}</p>` : ""}
    </article>`;
}

/** data-source: what it has sent in all. */
function source({ stream, tone }) {
  return html`
    <div class="gauge" data-stream=${stream.name} data-tone=${tone}>
      <span class="name">${stream.many} sent</span>
      <span class="big" data-figure="sent">${count(stream.stages[0]?.end)}</span>
    </div>`;
}

/** A stage: how late it is in a stream, and by how much. */
function gauge({ stream, tone, stage }) {
  const late = stage.lag > 0;
  const current = stage.lag === 0;
  return html`
    <div class="gauge" data-stream=${stream.name} data-tone=${tone}>
      <span class="name">${stream.many} behind</span>
      <span class="big" data-figure="lag" data-late=${late}>${current ? "0 s" : span(late ? stage.lag_seconds : null)}</span>
      ${late ? html`<span class="more">${count(stage.lag)} to do</span>` : ""}
    </div>`;
}

/** What flows into a service; a stream that does not pass it leaves its place empty. */
function pipe(fleet, service) {
  return html`
    <div class="pipe">
      ${passing(fleet, service).map(({ stream, tone, stage }) => (stage
        ? html`
          <div class="hop" data-stream=${stream.name} data-tone=${tone} data-hop=${`${stream.name}/${stage.stage}`}
            data-off=${stage.end === null} .flowing=${stage.arrived_per_second ?? 0}>
            <span class="rate">${rate(stage.arrived_per_second)} <small>/s</small></span>
            <span class="track"></span>
            <span class="topic" title=${`${stage.topic}: ${stage.records}`}>${stage.topic}</span>
          </div>`
        : html`<div></div>`))}
    </div>`;
}

/** Makes room for the streams and gives each pipe the colour of its rate; styles set by script are what the page's policy lets through. */
export function tint(root, fleet) {
  root.style.setProperty("--streams", fleet.streams.length);
  for (const hop of root.querySelectorAll(".hop")) {
    hop.style.setProperty("--flow", busyness(hop.flowing).toFixed(2));
  }
}
