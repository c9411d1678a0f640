/** Manifest of a package in an image. */
export interface PackageManifest {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly license?: string;
  /** Form of older packages. */
  readonly licenses?: readonly { readonly type: string }[];
}

/** A CycloneDX document with the members that are read back. */
export interface Sbom {
  readonly metadata: { readonly component: { readonly name: string; readonly version: string } };
  readonly components: readonly { readonly purl: string }[];
}

/**
 * Returns the bill of materials of a service's image in CycloneDX 1.6: the npm packages whose code it contains, with their licenses.
 * It has no time and no serial number, so the same packages give the same document.
 */
export function createSbom(service: string, version: string, packages: readonly PackageManifest[]): Sbom {
  const components = new Map(
    packages.map((manifest) => {
      const purl = purlOf(manifest);
      const [, scope, name] = /^(?:(@[^/]+)\/)?(.+)$/.exec(manifest.name) ?? [];
      const licenses = licensesOf(manifest);
      const component = {
        type: 'library',
        'bom-ref': purl,
        ...(scope !== undefined && { group: scope }),
        name,
        version: manifest.version,
        ...(licenses.length > 0 && { licenses }),
        purl,
      };
      return [purl, component] as const;
    }),
  );
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: { type: 'application', 'bom-ref': `${service}@${version}`, name: service, version },
    },
    components: [...components.keys()].sort().map((purl) => components.get(purl)),
  };
  return document as Sbom;
}

/** Returns the package URL of an npm package. */
function purlOf({ name, version }: PackageManifest): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function licensesOf({ license, licenses = [] }: PackageManifest): object[] {
  if (license === undefined) return licenses.map(({ type }) => ({ license: { name: type } }));
  return [/[ ()]/.test(license) ? { expression: license } : { license: { id: license } }];
}
