// Preloaded into every process of a test run. A test runs few statements on the embedded database, so V8 would spend more
// CPU time on optimizing its WebAssembly than optimized code saves.
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--liftoff-only');
