// Looking single things up: what a user orders, what a hotel is offered for.
import { html, render } from "/dashboard/vendor/lit-html.js";
import { get } from "/dashboard/api.js";
import { bands } from "/dashboard/tables.js";
import { count, euros } from "/dashboard/format.js";

/** What is shown is looked up again no more often than this. */
const REFRESH_MS = 3000;

/** Shows what `look` finds: `show` an id as if it had been typed, `refresh` what is shown, when there is news. */
function lookup(form, view, look) {
  const input = form.elements.id;
  let shown = null;
  let asked = 0;
  let stale = false;

  async function find(id) {
    shown = id;
    asked = performance.now();
    stale = false;
    try {
      const found = await look(encodeURIComponent(id));
      if (shown !== id) return;
      render(found, view);
      form.querySelector("[role=status]").textContent = `${id} is shown`;
    } catch (error) {
      if (shown !== id) return;
      shown = null;
      render(html`<p class="error" role="alert">${error.message}</p>`, view);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find(input.value.trim());
  });
  return {
    show(id) {
      input.value = id;
      find(id);
    },
    refresh(news) {
      stale ||= news;
      if (stale && shown !== null && performance.now() - asked > REFRESH_MS) find(shown);
    },
  };
}

/** Categories and products of a user. */
export function userLookup(form, view) {
  return lookup(form, view, async (id) => {
    const of = (kind) => get(`/dashboard/users/${id}/${kind}`);
    const [categories, products] = await Promise.all([of("categories"), of("products")]);
    const rows = ({ data }, name) => data.map((row) => (
      { name: row[name], number: count(row.order_cnt), share: row.order_cnt / data[0].order_cnt }));
    const none = "no order of this user was ever closed";
    return html`
      ${bands({ title: "Products", total: `${count(products.count)} in all`, rows: rows(products, "product_name"), tone: 0, columns: "two", empty: none })}
      ${bands({ title: "Categories", total: `${count(categories.count)} in all`, rows: rows(categories, "category_name"), tone: 0, empty: none })}`;
  });
}

/** Offers of a hotel, cheapest first. */
export function hotelLookup(form, view) {
  return lookup(form, view, async (id) => {
    const hotel = await get(`/dashboard/hotels/${id}/offers`);
    if (hotel.searches === null) return html`<p class="empty">nobody searched this hotel yet</p>`;
    const dearest = hotel.offers.at(-1)?.eurocents;
    return bands({
      title: `Cheapest ever, hotel ${hotel.hotel_id}`, total: `${count(hotel.searches)} searches`, tone: 1, empty: "nobody ever won a search of it",
      rows: hotel.offers.slice(0, 7).map(({ advertiser, eurocents }) => ({ name: advertiser, number: euros(eurocents), share: eurocents / dearest })),
    });
  });
}
