// Sorts a table of class "zoo" by a click on a column's title, and filters its rows.
'use strict';

function sortBy(table, column, button) {
  const descending = button.getAttribute('aria-sort') === 'ascending';
  const body = table.tBodies[0];
  const textOf = (row) => row.cells[column].textContent.trim();
  const numberOf = (text) => parseFloat(text.replace(/^\D*(?=\d)/, ''));
  const isNumber = [...body.rows].every((row) => !textOf(row) || /\d/.test(textOf(row)))
    && column > 2;
  const rows = [...body.rows].sort((a, b) => {
    const [first, second] = [textOf(a), textOf(b)];
    if (!first || !second) return (first ? 0 : 1) - (second ? 0 : 1); // empty ones last
    const order = isNumber
      ? numberOf(first) - numberOf(second)
      : first.localeCompare(second, 'en', {numeric: true});
    return descending ? -order : order;
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
  button.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
  body.append(...rows);
}

function addFilters(table) {
  const bar = document.createElement('div');
  bar.className = 'zoo-filters';
  const count = document.createElement('span');
  count.setAttribute('aria-live', 'polite');
  const search = document.createElement('input');
  search.type = 'search';
  search.placeholder = 'words, such as tsm r50 window';
  search.setAttribute('aria-label', 'Filter by words');
  const selects = [1, 2, 3].map((column) => {
    const select = document.createElement('select');
    const title = table.tHead.rows[0].cells[column].textContent.trim();
    const values = new Set([...table.tBodies[0].rows]
      .map((row) => row.cells[column].textContent.trim()).filter(Boolean));
    const sorted = [...values].sort((a, b) => a.localeCompare(b, 'en', {numeric: true}));
    select.setAttribute('aria-label', `Filter by ${title}`);
    select.append(new Option(`any ${title}`, ''));
    select.append(...sorted.map((value) => new Option(value, value)));
    select.dataset.column = column;
    return select;
  });
  function update() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word)) && selects.every((select) =>
        !select.value || row.cells[select.dataset.column].textContent.trim() === select.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  }
  search.addEventListener('input', update);
  for (const select of selects) select.addEventListener('change', update);
  bar.append(search, ...selects, count);
  table.closest('.zoo-frame').before(bar);
  update();
}

document.addEventListener('DOMContentLoaded', () => {
  for (const table of document.querySelectorAll('table.zoo')) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      cell.tabIndex = 0;
      cell.addEventListener('click', () => sortBy(table, column, cell));
      cell.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' || event.key === ' ') {
          event.preventDefault();
          sortBy(table, column, cell);
        }
      });
    });
    addFilters(table);
  }
});
