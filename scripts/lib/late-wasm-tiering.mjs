// Preloaded into every service that scripts/ starts. V8 optimizes functions of the embedded database only after much more use than by
// default: the start calls many functions a little, and optimizing them takes more CPU time than it saves.
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--wasm-tiering-budget=50000000');
