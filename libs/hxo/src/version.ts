/** The version of HXO: named by the README, by `hxo --version` and in every certificate. */
export const hxo_version = '1.9.6n';
