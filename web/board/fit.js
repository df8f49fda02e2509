// Size of tiles at which all of them are visible together, if they can be.
const LEAST = 88;
const MOST = 512;

/**
 * Returns the width of a tile in px. `room` has the `width` and `height` of the list and the `gap` between tiles;
 * `aspect` is a picture's width by its height, `beside` what a tile needs beside its picture: `[width, height]`.
 */
export function tileWidth(count, { width, height, gap }, aspect, [besideWidth, besideHeight]) {
  const shareOf = (whole, parts) => Math.floor((whole - gap * (parts - 1)) / parts);
  const widest = (columns) => {
    const highest = shareOf(height, Math.ceil(count / columns));
    return Math.min(shareOf(width, columns), Math.floor((highest - besideHeight) * aspect + besideWidth), MOST);
  };
  const mostColumns = Math.max(1, Math.floor((width + gap) / (LEAST + gap)));
  const columns = Array.from({ length: Math.min(count, mostColumns) }, (_, index) => index + 1);
  const best = Math.max(...columns.map(widest));
  return best >= LEAST ? best : shareOf(width, mostColumns);
}
