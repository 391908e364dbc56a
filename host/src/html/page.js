"use strict";
// Sorts a table by a column when its header is clicked, and adds a filter to a table with the label of one. Without JavaScript a table
// stays as it is.
const makeSortable = (table) => {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  const compare = (a, b, numeric) => (numeric ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0);
  const sort = (column) => {
    const header = headers[column];
    const descending = header.getAttribute("aria-sort") === "ascending";
    const numeric = header.dataset.type === "number";
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column) }));
    // Rows without a value stay at the end, in both directions.
    rows.sort((a, b) => {
      if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
      return compare(a.key, b.key, numeric) * (descending ? -1 : 1);
    });
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...rows.map(({ row }) => row));
  };
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(column));
    header.replaceChildren(button);
  });
};
const makeFilter = (table) => {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("span");
  input.type = "search";
  label.className = "filter";
  label.append(table.dataset.filter, input, count);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    const shown = rows.filter((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      return !row.hidden;
    });
    count.textContent = words.length ? `${shown.length} of ${rows.length}` : "";
  });
  table.parentElement.before(label);
};
document.querySelectorAll("table.rows").forEach(makeSortable);
document.querySelectorAll("table[data-filter]").forEach(makeFilter);
