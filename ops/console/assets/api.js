// Asking the console.

/** The key that was given to the page; empty where there is none. */
export const key = () => document.querySelector("#push [name=key]").value;

/** What the console answers; an error says in words for people why there is nothing. */
export async function get(path) {
  const given = key();
  const answer = await fetch(path, { headers: given ? { APIKEY: given } : {} }).catch(() => null);
  if (!answer) throw new Error("the console does not answer");
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    const words = "what tells of one person wants the API key of the fleet: give it beside Push";
    throw Object.assign(new Error(words), { refused: true });
  }
  if (!answer.ok) throw new Error(said.error ?? `the console answered ${answer.status}`);
  return said;
}
