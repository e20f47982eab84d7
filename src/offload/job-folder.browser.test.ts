import { afterEach, expect, it } from "vitest";
import { StorageError } from "../errors.ts";
import {
  deleteJobFolder,
  findJobFolder,
  findOutputFolder,
  folderBytes,
  listJobFolders,
  openJobFolder,
  openOutputFile,
  openOutputFolder,
} from "./job-folder.ts";
import { readJournal } from "./journal.ts";

const JOB = "job-folder-test";
afterEach(async () => await deleteJobFolder(JOB));

async function makeJob(): Promise<FileSystemDirectoryHandle> {
  const output = await openOutputFolder(await openJobFolder(JOB));
  const writable = await (await output.getFileHandle("a", { create: true })).createWritable();
  await writable.write("text");
  await writable.close();
  return output;
}

it("a job that is looked at is not made by it, and deleting one that is gone is no failure", async () => {
  expect(await findJobFolder(JOB)).toBeNull();
  expect(await findOutputFolder(JOB)).toBeNull();
  await deleteJobFolder(JOB);
  expect(await listJobFolders()).not.toContain(JOB);
});

it("a job that another tab writes is not deleted, and stays whole", async () => {
  const output = await makeJob();
  const writing = await (await output.getFileHandle("a")).createWritable();
  await expect(deleteJobFolder(JOB)).rejects.toThrow(/The job is in use: another tab works with it/);
  expect(await (await openOutputFile(output, "a")).text()).toBe("text");
  await writing.abort();
});

it("a job that another tab has deleted is told of as gone, and counts as nothing", async () => {
  const output = await makeJob();
  const job = await openJobFolder(JOB);
  await deleteJobFolder(JOB);
  await expect(openOutputFile(output, "a")).rejects.toThrow(StorageError);
  await expect(openOutputFile(output, "a")).rejects.toThrow(/no longer in the browser’s storage/);
  expect(await readJournal(job)).toBeNull();
  expect(await folderBytes(job)).toBe(0);
});
