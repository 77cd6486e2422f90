/** The tables by which the conformance suite is judged name cases that there are, and all of them. */
import { expect } from "chai";
import type { Case } from "./case.js";
import { allCases, rowsOf } from "./cases.js";
import { dockerFloor } from "./floors/docker.js";
import { runcFloor } from "./floors/runc.js";
import { lifecycleProofs, rows } from "./options/rows.js";
import { unobservable } from "./options/unobservable.js";

const cases: readonly Case[] = allCases();
const ids = cases.map(({ id }) => id);
const floors = { docker: dockerFloor, runc: runcFloor };

describe("options", () => {
  it("mapping: every row of the option table is proven by a case", () => {
    const proven = new Set(cases.flatMap(rowsOf));
    expect(rows.filter((row) => !proven.has(row))).to.deep.equal([]);
  });

  it("mapping: no two cases of one engine have one name", () => {
    expect(repeated(cases.map(({ id, title }) => `${groupOf(id)}: ${title}`))).to.deep.equal([]);
    expect(repeated(ids)).to.deep.equal([]);
  });

  it("mapping: what may be refused or cannot be seen are cases that there are", () => {
    const { docker, runc } = floors;
    const named = [...docker.exceptions.keys(), ...runc.exceptions.keys()];
    expect(unknown([...named, ...Object.keys(unobservable)])).to.deep.equal([]);
    const starts = new Set(ids.map(groupOf));
    expect(unknown(lifecycleProofs).filter((id) => !starts.has(id))).to.deep.equal([]);
  });
});

describe("floors", () => {
  it("every case has an id of at most 60 characters in kebab-case", () => {
    const word = "[a-z0-9]+(-[a-z0-9]+)*";
    const pattern = new RegExp(`^${word}(\\.${word})+$`);
    expect(ids.filter((id) => id.length > 60 || !pattern.test(id))).to.deep.equal([]);
  });

  it("Docker's floor lists every case", () => {
    expect(ids.filter((id) => !dockerFloor.cases.has(id))).to.deep.equal([]);
  });

  for (const [engine, { cases: floor }] of Object.entries(floors)) {
    it(`the floor of ${engine} lists cases that there are`, () => {
      expect(unknown([...floor])).to.deep.equal([]);
    });
  }
});

/** What the id of a case begins with. */
function groupOf(id: string): string {
  return id.replace(/\..*/, "");
}

/** What is in a list more than once. */
function repeated(list: readonly string[]): string[] {
  return list.filter((item, n) => list.indexOf(item) !== n);
}

/** The ids that no case has. */
function unknown(list: readonly string[]): string[] {
  return list.filter((id) => !ids.includes(id));
}
