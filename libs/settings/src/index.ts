/** Environment to typed, frozen settings: the only place that reads process.env. */
export * from './variables.js';
export { SettingsError, type Environment, type Problem } from './reader.js';
export * from './settings.js';
export type { AllowedHost } from './allowed-hosts.js';
export { type TargetSettings } from './targets.js';
export * from './client-settings.js';
export * from './load.js';
export { preparePlaces } from './prepare-places.js';
