export { executors } from './executors.js';
export {
  ExecutorModuleError,
  findExecutorModules,
  loadExecutors,
  loadPartitioners,
} from './load-executors.js';
export {
  FolderUnusable,
  unpack,
  UnpackError,
  type UnpackOptions,
  type Unpacked,
} from './pack_backend/unpack.js';
export { createDocsSearch } from './docs_index/search.js';
