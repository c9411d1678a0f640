/** Filter of common passwords, made by `npm run generate`; bundles have it in the same place. */
export const commonPasswordsFile = new URL('../common-passwords.bloom', import.meta.url);
