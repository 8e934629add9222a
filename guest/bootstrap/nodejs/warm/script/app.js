// What the bootstrap loads and runs before the snapshot: a script.
const { join } = require('path');
exports.name = () => join('a', 'b');
exports.handle = (event) => {
  if (event.fail) throw new Error('wanted');
  return { n: event.n };
};
