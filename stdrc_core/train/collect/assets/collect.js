// Unticked clips and persons are saved as exclude.txt: by `collect --look` into the data set's
// folder, else as a download.
const boxes = [...document.querySelectorAll("input[data-name]")];
const persons = boxes.filter((box) => box.classList.contains("person"));
const told = document.getElementById("told");
const clipsOf = (person) => [...person.closest(".card").querySelectorAll("figure input")];

function show() {
  for (const box of boxes) box.closest("figure")?.classList.toggle("out", !box.checked);
  for (const person of persons) {
    const clips = clipsOf(person);
    const ticked = clips.filter((clip) => clip.checked).length;
    person.checked = ticked > 0;
    person.indeterminate = ticked > 0 && ticked < clips.length;
  }
  const left = boxes.filter((box) => !box.checked && !box.classList.contains("person")).length;
  told.textContent = left ? `${left} ${left > 1 ? "clips are" : "clip is"} unticked.` : "";
}

function excluded() {
  const lines = [];
  for (const box of boxes) {
    if (box.classList.contains("person")) {
      if (!box.checked) lines.push(box.dataset.name);
    } else if (!box.checked) {
      const person = persons.find((each) => clipsOf(each).includes(box));
      if (!person || person.checked) lines.push(box.dataset.name);
    }
  }
  return lines.map((line) => line + "\n").join("");
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (!boxes.includes(box)) return;
  if (box.classList.contains("person")) for (const clip of clipsOf(box)) clip.checked = box.checked;
  show();
});

document.getElementById("save").addEventListener("click", async () => {
  const text = excluded();
  if (location.protocol.startsWith("http")) {
    const answer = await fetch("exclude.txt", { method: "PUT", body: text });
    told.textContent = answer.ok
      ? "Saved. Give the collect command again to leave them out."
      : `Not saved: ${await answer.text()}`;
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = "exclude.txt";
  link.click();
  told.textContent = "Put the downloaded exclude.txt into the data set's folder, and give the collect command again.";
});

// Persons take their true height when they come into view, which moves what is below them.
for (const link of document.querySelectorAll("#savebar nav a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const target = document.getElementById(link.hash.slice(1));
    let left = 30;
    const jump = () => {
      target.scrollIntoView();
      if (left--) requestAnimationFrame(jump);
    };
    jump();
  });
}

show();
