/** The option table: every row has a case, and no exception names a case that is not there. */
import { expect } from "chai";
import { dockerFloor, runcFloor } from "./floors.js";
import { rows } from "./options/rows.js";
import { unobservable } from "./options/unobservable.js";
import { allCases, provenRows } from "./suite.js";

describe("options", () => {
  it("mapping: every row of the option table is proven by a case", () => {
    expect(rows.filter((row) => !provenRows.has(row))).to.deep.equal([]);
  });

  it("mapping: no two cases of one engine have one name", () => {
    expect(allCases.filter((name, n) => allCases.indexOf(name) !== n)).to.deep.equal([]);
  });

  it("mapping: what may be refused or cannot be seen are cases that there are", () => {
    const known = new Set(allCases);
    const excepted = [...dockerFloor.exceptions.keys(), ...runcFloor.exceptions.keys()];
    expect(excepted.filter((name) => !known.has(name))).to.deep.equal([]);
    const names = new Set(allCases.map((name) => name.slice(name.indexOf(": ") + 2)));
    expect(Object.keys(unobservable).filter((name) => !names.has(name))).to.deep.equal([]);
  });
});
