// The page: follows the fleet by server-sent events and shows what it hears.
import { html, render } from "/dashboard/vendor/lit-html.js";
import { History, charts } from "/dashboard/charts.js";
import { get, key } from "/dashboard/api.js";
import { flow, tint } from "/dashboard/flow.js";
import { instances } from "/dashboard/instances.js";
import { hotelLookup, userLookup } from "/dashboard/lookup.js";
import { animate } from "/dashboard/particles.js";
import { pushing } from "/dashboard/push.js";
import { figures, layers, rankings, searchers } from "/dashboard/tables.js";

const SILENCE_MS = 6000;
const at = (id) => document.getElementById(id);

const history = new History();
const drawCharts = charts();
const moveParticles = animate(at("particles"), at("flow"));
const followPush = pushing(at("push"), at("push-progress"));
const users = userLookup(at("user"), at("counters"));
const hotels = hotelLookup(at("hotel"), at("offers"));
let rowsBefore = new Map();
let shown = null;
let heard = 0;

/** Text that is read out when it changes, and only then. */
function say(element, words, state) {
  if (element.textContent !== words) element.textContent = words;
  element.dataset.state = state;
}

function verdict(fleet) {
  const stages = fleet.streams.flatMap((stream) => stream.stages);
  const ailing = [...fleet.services, ...fleet.servers].filter((part) => part.state !== "ok");
  if (ailing.length) {
    const names = ailing.map((part) => `${part.name} is ${part.state}`);
    return [names.join(", "), "bad"];
  }
  if (fleet.reconcile?.differences) return ["The layers differ: see strata reconcile", "bad"];
  return stages.every((stage) => stage.lag === 0) ? ["All layers are current", "ok"] : ["Records are on their way", "ok"];
}

function showFleet(fleet) {
  say(at("verdict"), ...verdict(fleet));
  render(fleet.servers.map((part) => html`<li class="state" data-state=${part.state} data-server=${part.name}>${part.name}${
    part.state === "ok" ? "" : ` ${part.detail}`}</li>`), at("servers"));
  render(figures(fleet, history.lastMinute()), at("figures"));
  render(flow(fleet), at("flow"));
  tint(at("flow"), fleet);
  moveParticles();
  render(instances(fleet), at("instances"));
  render(layers(fleet, rowsBefore), at("layers"));
  rowsBefore = new Map((fleet.tables ?? []).map((table) => [`${table.layer}.${table.name}`, table.rows]));
  followPush(fleet);
  // What is looked up may have changed with anything that reached a last layer.
  const applied = (look) => look?.streams.map((stream) => stream.stages.at(-1).applied).join();
  for (const found of [users, hotels]) found.refresh(applied(fleet) !== applied(shown));
  shown = fleet;
}

function showTop(top) {
  for (const [name, list] of Object.entries(rankings)) render(list(top?.searches ?? null, hotels.show), at(name));
  // Something to see for whoever has typed nothing yet.
  const [hotel] = top?.searches?.hotels.top ?? [];
  if (hotel && !at("hotel").elements.id.value && !at("offers").hasChildNodes()) hotels.show(hotel.name);
  askForPeople();
}

let asking = false;
/** The key that was refused last: the question is not put with it again. */
let refused = null;

/** What tells of persons comes apart: it wants the key of the fleet. */
async function askForPeople() {
  const given = key();
  if (asking || given === refused) return;
  asking = true;
  try {
    showPeople(await get("/dashboard/people"));
    refused = null;
  } catch (error) {
    refused = error.refused ? given : null;
    render(html`<p class="empty">${error.message}</p>`, at("users"));
    render("", at("recent"));
  }
  asking = false;
}

function showPeople(people) {
  render(searchers(people.searchers), at("users"));
  const recent = people.recent ?? [];
  render(recent.length ? html`counted last: ${recent.map((user) => html`<button type="button" @click=${() => users.show(user)}>${user}</button>`)}` : "", at("recent"));
  if (recent.length && !at("user").elements.id.value && !at("counters").hasChildNodes()) users.show(recent[0]);
}

let events = null;

function connect() {
  events?.close();
  const mine = new EventSource("/dashboard/events");
  events = mine;
  const on = (name, show) => mine.addEventListener(name, (event) => {
    heard = performance.now();
    say(at("connection"), "live", "live");
    show(JSON.parse(event.data));
  });
  on("fleet", showFleet);
  on("top", showTop);
  on("latency", (series) => {
    history.add(series);
    drawCharts(history, shown);
  });
  mine.addEventListener("error", () => {
    say(at("connection"), "the console does not answer; trying again", "lost");
    // The browser comes back by itself unless it was answered with an error.
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === events && connect(), 2000);
  });
}

function disconnect() {
  events?.close();
  events = null;
}

setInterval(() => {
  if (events && heard && performance.now() - heard > SILENCE_MS) say(at("connection"), "no news; figures are old", "lost");
}, 1000);
// The fleet is asked only while somebody looks: not for a tab in the background, nor a page kept for going back.
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => event.persisted && connect());
if (!document.hidden) connect();
