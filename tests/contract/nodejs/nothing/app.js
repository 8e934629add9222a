exports.other = async () => null;
