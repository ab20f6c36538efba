export { createWorkspace, type WorkspaceOptions } from './workspace.js';
export { createArtifactStore, type FileArtifactStore } from './artifact-store.js';
export { workspaceFingerprint } from './fingerprint.js';
