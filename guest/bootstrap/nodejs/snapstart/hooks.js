'use strict';
// What index.js and the bootstrap share.

exports.before = [];
exports.after = [];

exports.register = (list, hook, values) => {
  if (typeof hook !== 'function') throw new TypeError('a hook must be a function');
  list.push(() => hook(...values));
  return hook;
};

exports.runBeforeSnapshot = async () => {
  for (const hook of exports.before.slice().reverse()) await hook();
};

exports.runAfterRestore = async () => {
  for (const hook of exports.after.slice()) await hook();
};
