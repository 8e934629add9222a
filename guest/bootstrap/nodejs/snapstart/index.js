'use strict';
// Hooks around a snapshot of the loaded function, with Python's names of AWS Lambda's SnapStart. A hook may be async.

const hooks = require('./hooks.js');

// Hooks before the snapshot are run in reverse order: what was set up last is taken down first.
exports.registerBeforeSnapshot = (hook, ...values) => hooks.register(hooks.before, hook, values);

exports.registerAfterRestore = (hook, ...values) => hooks.register(hooks.after, hook, values);
