export { createWorkspace, type WorkspaceOptions } from './workspace.js';
export { createArtifactStore, type FileArtifactStore } from './artifact-store.js';
export { createFileCache, type FileCache } from './cache.js';
export { workspaceFingerprint } from './fingerprint.js';
